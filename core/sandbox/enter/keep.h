/* keep: what a launcher's keeper makes for the forks of its zygotes. */
#ifndef PIPSQUEAK_KEEP_H
#define PIPSQUEAK_KEEP_H

/* Answers a request of core's for a user namespace and the network in it, which has come through the gate. */
void ps_keep_promise(int gate);

#endif
