#include "stack.h"

#include "err.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define STACK_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STACK_ASAN 1
#endif
#endif
#ifdef STACK_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

struct stack {
    void *map; /* guard page, then the stack */
    size_t map_len;
    char *low;
    size_t len;
    void (*fn)(void *arg);
    void *arg;
    bool returned;
    void *sp, *caller_sp;      /* with the assembly */
    ucontext_t uc, *caller_uc; /* without; caller_uc lives in stack_enter's frame */
#ifdef STACK_ASAN
    void *fake, *caller_fake;
    const void *caller_low;
    size_t caller_len;
#endif
};

/* The stack that is being entered for the first time: its first function has no other way to know.
 */
static _Thread_local struct stack *entering;

#ifdef __x86_64__
/* Saves what the ABI says a call preserves, the floating point modes included, on the old stack,
 * and takes it back from the new one. The `ret` at the end needs no endbr at its target. */
void relais_stack_switch(void **save_sp, void *sp);
__asm__(".text\n"
        ".p2align 4\n"
        ".globl relais_stack_switch\n"
        ".hidden relais_stack_switch\n"
        ".type relais_stack_switch, @function\n"
        "relais_stack_switch:\n"
        "    endbr64\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    subq $8, %rsp\n"
        "    stmxcsr (%rsp)\n"
        "    fnstcw 4(%rsp)\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    ldmxcsr (%rsp)\n"
        "    fldcw 4(%rsp)\n"
        "    addq $8, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size relais_stack_switch, .-relais_stack_switch\n");

/* With a hardware shadow stack a `ret` on another stack is an attack; swapcontext knows how to
 * switch both. rdssp is a no-op where there is none. */
static bool plain_switch_works(void)
{
    uint64_t ssp = 0;
    __asm__ volatile("rdsspq %0" : "+r"(ssp));
    return ssp == 0;
}

static void switch_to(void **save_sp, void *sp)
{
    relais_stack_switch(save_sp, sp);
}

/* What relais_stack_switch expects on a stack that was never left: modes, six registers, the
 * address to "return" to, and a NULL return address for that one, where back traces end. */
static void *first_frame(struct stack *s, void (*entry)(void))
{
    uint64_t frame[9] = {0};
    uint32_t mxcsr = 0;
    uint16_t fcw = 0;
    char *sp = s->low + s->len - sizeof frame;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(fcw));
    frame[0] = mxcsr | (uint64_t)fcw << 32;
    frame[7] = (uint64_t)(uintptr_t)entry;
    memcpy(sp, frame, sizeof frame);
    return sp;
}
#else
static bool plain_switch_works(void)
{
    return false;
}

static void switch_to(void **save_sp, void *sp)
{
    (void)save_sp;
    (void)sp;
}

static void *first_frame(struct stack *s, void (*entry)(void))
{
    (void)s;
    (void)entry;
    return NULL;
}
#endif

/* The address sanitizer keeps its own idea of where the stack is. */
static void before_enter(struct stack *s)
{
#ifdef STACK_ASAN
    __sanitizer_start_switch_fiber(&s->caller_fake, s->low, s->len);
#endif
    (void)s;
}

static void after_enter(struct stack *s)
{
#ifdef STACK_ASAN
    __sanitizer_finish_switch_fiber(s->caller_fake, NULL, NULL);
#endif
    (void)s;
}

static void before_leave(struct stack *s)
{
#ifdef STACK_ASAN
    __sanitizer_start_switch_fiber(s->returned ? NULL : &s->fake, s->caller_low, s->caller_len);
#endif
    (void)s;
}

static void after_leave(struct stack *s, bool first)
{
#ifdef STACK_ASAN
    __sanitizer_finish_switch_fiber(first ? NULL : s->fake, &s->caller_low, &s->caller_len);
#endif
    (void)s;
    (void)first;
}

bool stack_enter(struct stack *s)
{
    ASSERT(!s->returned);
    entering = s;
    before_enter(s);
    if (s->sp) {
        switch_to(&s->caller_sp, s->sp);
    } else {
        ucontext_t here;
        s->caller_uc = &here;
        ASSERT(swapcontext(&here, &s->uc) == 0);
    }
    after_enter(s);
    return s->returned;
}

void stack_leave(struct stack *s)
{
    before_leave(s);
    if (s->sp)
        switch_to(&s->sp, s->caller_sp);
    else
        ASSERT(swapcontext(&s->uc, s->caller_uc) == 0);
    after_leave(s, false);
}

static void first_function(void)
{
    struct stack *s = entering;
    after_leave(s, true);
    s->fn(s->arg);
    s->returned = true;
    stack_leave(s);
    err_panic(__FILE__, __LINE__, "a stack whose function has returned was entered");
}

void stack_reuse(struct stack *s, void (*fn)(void *arg), void *arg)
{
#ifdef STACK_ASAN
    __asan_unpoison_memory_region(s->low, s->len);
#endif
    s->fn = fn;
    s->arg = arg;
    s->returned = false;
    s->sp = NULL;
    if (plain_switch_works()) {
        s->sp = first_frame(s, first_function);
    } else {
        ASSERT(getcontext(&s->uc) == 0);
        s->uc.uc_stack.ss_sp = s->low;
        s->uc.uc_stack.ss_size = s->len;
        s->uc.uc_link = NULL;
        makecontext(&s->uc, first_function, 0);
    }
}

struct stack *stack_new(size_t size, void (*fn)(void *arg), void *arg)
{
    struct stack *s = err_calloc(1, sizeof *s);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
#ifdef STACK_ASAN
    size *= 4; /* its frames have red zones */
#endif
    s->len = (size + page - 1) / page * page;
    s->map_len = s->len + page;
    s->map = mmap(NULL, s->map_len, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    ASSERT(s->map != MAP_FAILED && "out of memory or of mappings (vm.max_map_count) for a stack");
    ASSERT(mprotect(s->map, page, PROT_NONE) == 0);
    s->low = (char *)s->map + page;
    stack_reuse(s, fn, arg);
    return s;
}

void stack_free(struct stack *s)
{
    if (!s)
        return;
#ifdef STACK_ASAN
    __asan_unpoison_memory_region(s->low, s->len);
#endif
    ASSERT(munmap(s->map, s->map_len) == 0);
    free(s);
}
