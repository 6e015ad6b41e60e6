/* stack.h: private to io: a second stack to run a function on, left and entered at will.
 *
 * Asymmetric: whoever enters a stack is where leaving it returns to. Switching costs a few
 * nanoseconds and no system call (swapcontext would make two); it is only swapcontext where there
 * is no assembly for the machine, or where the processor keeps a shadow stack. Below each stack
 * lies a guard page: an overflow faults instead of corrupting a neighbour. */
#ifndef RELAIS_STACK_H
#define RELAIS_STACK_H

#include <stdbool.h>
#include <stddef.h>

struct stack;

/* A stack of at least `size` bytes, on which the first stack_enter calls fn(arg). Never NULL. */
struct stack *stack_new(size_t size, void (*fn)(void *arg), void *arg);
/* Readies a stack whose fn has returned for another. */
void stack_reuse(struct stack *s, void (*fn)(void *arg), void *arg);
/* Frees a stack that nobody runs on; what stood on it is forgotten, not unwound. */
void stack_free(struct stack *s);

/* Runs on s until stack_leave, or until fn returned: then true. */
bool stack_enter(struct stack *s);
/* Called on s: returns from stack_enter there; returns here at the next stack_enter. */
void stack_leave(struct stack *s);

#endif
