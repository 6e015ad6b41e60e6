"""flap.py: cuts a link while a site drains, and counts what was sent twice; for flapping.sh.

    flap.py DIR RELAIS RELAIS-BENCH CUTS SEED PID

What the site gave to its end of the link and what the hub's daemon took in of the delta are both held
against the delta's bytes. A cut may cost a window: what is in flight when it begins, that is twice the
link's bandwidth x delay (BBR's gain) and its full queue, and a TLS record that came in part.
"""
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

DIR, RELAIS, BENCH = sys.argv[1:4]
CUTS, SEED, PID = (int(x) for x in sys.argv[4:])
RATE, RTT, QUEUE = 20e6 / 8, 0.040, 0.100
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
WINDOW = RATE * (2 * RTT + QUEUE) + 16384


def tell(*words):
    return subprocess.run([BENCH, "wan", "--tell", DIR + "/link", *words], check=True,
                          stdout=subprocess.PIPE, text=True).stdout


def group():
    out = subprocess.run([RELAIS, "-c", DIR + "/site/relais.conf", "status", "--json"],
                         stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out)["groups"][0]


def wire():
    return json.loads(tell("stats"))["up"]["in_bytes"]


def fail(text):
    print(text)
    sys.exit(1)


def sealed():
    deadline, before = time.monotonic() + 60, -1
    while time.monotonic() < deadline:
        lag = group()["lag_bytes"]
        if lag > CUTS * 4 * 2**20 * 0.9 and lag == before:
            return lag
        before = lag
        time.sleep(0.5)
    fail("nothing was sealed")


rng = random.Random(SEED)
size, began, first = sealed(), time.monotonic(), wire()
down = 0.0
tell("set", "outage", "none")
cuts = 0
while cuts < CUTS:
    time.sleep(rng.uniform(0.3, 2.0))
    if group()["lag_bytes"] == 0:
        break
    # As many short ones as long ones.
    pause = 0.1 * 50 ** rng.random()
    tell("set", "outage", rng.choice(("blackhole", "reset")))
    time.sleep(pause)
    tell("set", "outage", "none")
    down += pause
    cuts += 1
deadline = time.monotonic() + 60 + size / RATE
while group()["lag_bytes"] > 0:
    if time.monotonic() > deadline:
        fail(f"not drained; {group()}")
    time.sleep(0.1)
took, crossed = time.monotonic() - began, wire() - first
# The hub says of each connection what came over it when it ends: end those that live, too.
os.kill(PID, signal.SIGTERM)
deadline = time.monotonic() + 20
while True:
    with open(DIR + "/hub/log") as f:
        log = f.read()
    if log.count(": site connected from") == log.count(": site disconnected after"):
        break
    if time.monotonic() > deadline:
        fail("the hub keeps connections of a site that is gone")
    time.sleep(0.1)
broke = len(re.findall(r" disconnected after ", log))
if cuts < CUTS / 2:
    fail(f"it was drained after {cuts} cuts already: too little data for a test")
# On the wire there are headers too: TLS's, TCP's, IP's, and what was lost and sent again by TCP.
came = sum(float(n) * UNITS[u] for n, u in re.findall(r"([\d.]+) (\w+) in, ", log))
twice = max(0, crossed / 1.04 - size)
print(f"{cuts} cuts, {down:.0f} s of {took:.0f} s down, {broke} connections broke; {size / 2**20:.1f} MiB sealed, "
      f"{crossed / 2**20:.1f} MiB crossed, {came / 2**20:.1f} MiB taken in: {twice / cuts / 1024:.0f} KiB sent twice per "
      f"cut, a window is {WINDOW / 1024:.0f} KiB; {size / RATE / (took - down) * 100:.0f} % of the rate while up")
# A TLS record that came in part is lost with each connection; frames have headers, deltas manifests.
if came - size > broke * 16384 + size / 500 + 2**17:
    fail(f"the hub took in {came - size:.0f} bytes twice: it lost more than a TLS record per connection")
if twice > cuts * WINDOW:
    fail(f"{twice / cuts:.0f} bytes were sent twice per cut, a window is {WINDOW:.0f}")
