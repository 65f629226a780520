/*
 * draws: whether code draws random numbers while it is imported. What it keeps of them, each fork of a zygote would have, where each process
 * should have its own. It is part of look (look.h) where it is linked.
 */
#ifndef PIPSQUEAK_DRAWS_H
#define PIPSQUEAK_DRAWS_H

/* Forgets who has drawn. */
__attribute__((weak)) void ps_draws_forget(void);

/* Whether somebody has since, who does not see to that at a fork. */
__attribute__((weak)) int ps_drawn(void);

/* Notes a draw by who calls the function that calls this, and by a path. */
void ps_draw(void);
__attribute__((weak)) void ps_draw_from(const char *path);

#endif
