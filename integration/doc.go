// Package integration looks at Pipsqueak from outside: it starts the real program, speaks HTTP to it, breaks things, and looks
// at what the machine has left afterwards. It also holds the rules of the repository itself as tests.
//
// The files are named for the question they answer: arch (does the code keep the house rules?), life (does a function live from
// deploy to remove?), fault (what happens with bad input and bad luck?), isolation (what can a handler see and do?), promise
// (do the invariants and the numbers hold?).
package integration
