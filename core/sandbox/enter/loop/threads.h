/*
 * threads: how many threads the numerical libraries of an instance use. A zygote has to have one, so they are loaded there with one; what is loaded
 * in an instance takes all processors of the machine, of which it may use a part.
 */
#ifndef PIPSQUEAK_THREADS_H
#define PIPSQUEAK_THREADS_H

/* Has what is loaded use as many threads as the variable says with which a user of that library sets it, else as many as there are processors
 * for this process. */
void ps_use_threads(int processors);

#endif
