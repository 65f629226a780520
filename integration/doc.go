// Package integration looks at Pipsqueak from outside: it starts the real program, speaks HTTP to it, breaks
// things, and examines what the machine has left afterwards. It also holds the rules of the repository itself
// as tests.
//
// Each file with tests begins with the question that they answer. A few to begin with: life (does a function
// live from deploy to remove?), fault (what happens with bad input and bad handlers?), kill (what happens
// when something is killed?), isolation (what can a handler see and do?), promise (do the invariants and the
// numbers hold?), documents (do the commands of documents work?), arch (does the code keep the rules of the
// repository?). Files without tests begin with rig_, for the tests' helpers, or rule_, for rules that arch
// checks.
package integration
