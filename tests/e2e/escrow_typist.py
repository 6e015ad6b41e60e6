"""Somebody at a terminal: types sheets back with a slip, and a passphrase that is not echoed.

    escrow_typist.py PASSPHRASE SHEETS COMMAND...

Runs COMMAND on a terminal of its own. Types the lines of SHEETS when it is asked for them, the third one
wrong at first, and PASSPHRASE where one is asked for. Prints what the terminal showed. Ends with the
command's status, or 99 when a question did not come or the terminal was left without echo.
"""
import os
import pty
import re
import select
import sys
import termios
import time

passphrase, sheets, command = sys.argv[1], sys.argv[2], sys.argv[3:]
lines = re.findall(r"^    [1-5]  (.+)$", open(sheets).read(), re.M) if sheets != "-" else []
slip = lines[2][:7] + ("7" if lines[2][7] != "7" else "8") + lines[2][8:] if lines else ""
answers = lines[:2] + [slip] + lines[2:]


def give_up(shown, why):
    print(shown, "\n" + why)
    sys.exit(99)


pid, terminal = pty.fork()
if pid == 0:
    os.execv(command[0], command)
shown, unread = "", ""
deadline = time.monotonic() + 60
while True:
    if time.monotonic() > deadline:
        os.kill(pid, 9)
        give_up(shown, "nothing came for a minute")
    ready, _, _ = select.select([terminal], [], [], 0.2)
    if ready:
        try:
            data = os.read(terminal, 4096).decode()
        except OSError:
            break
        shown += data
        unread += data
    if re.search(r"passphrase of [^\n]*: $", unread):
        if termios.tcgetattr(terminal)[3] & termios.ECHO:
            give_up(shown, "the terminal echoes a passphrase")
        os.write(terminal, passphrase.encode() + b"\n")
        unread = ""
    elif re.search(r"line [1-5]: $", unread) and answers:
        os.write(terminal, answers.pop(0).lower().encode() + b"\n")
        unread = ""
print(shown.replace("\r", ""))
if not termios.tcgetattr(terminal)[3] & termios.ECHO:
    give_up("", "the terminal was left without echo")
if passphrase in shown:
    give_up("", "the passphrase was shown")
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
