package drivertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Breach is one way to break the contract.
type Breach string

// The breaches. Those that end the program are for a driver in a process of its own.
const (
	NoProcess Breach = "no-process" // says that a process is parked where it has made none
	BareError Breach = "bare-error" // fails with an error without a kind
	Deaf      Breach = "deaf"       // does not answer for ten seconds, whatever happens to the context
	Babble    Breach = "babble"     // prints to standard output and answers well
	Panic     Breach = "panic"      // ends the program by a panic
	Exit      Breach = "exit"       // ends the program
)

// Breaches are all of them.
var Breaches = []Breach{NoProcess, BareError, Deaf, Babble, Panic, Exit}

// Faulty is a driver that breaks the contract in Preload, Fork and Import, and leaves Describe alone so that
// it can be opened.
type Faulty struct {
	core.Driver // does the honest part
	Breach      Breach
}

// Preload implements core.Driver.
func (f *Faulty) Preload(ctx context.Context, id core.NodeID, runtime core.RuntimeID, door core.Door) error {
	if err := f.breach(); err != nil || f.Breach == NoProcess {
		return err
	}
	return f.Driver.Preload(ctx, id, runtime, door)
}

// Fork implements core.Driver.
func (f *Faulty) Fork(ctx context.Context, id, parent core.NodeID, door core.Door) error {
	if err := f.breach(); err != nil || f.Breach == NoProcess {
		return err
	}
	return f.Driver.Fork(ctx, id, parent, door)
}

// Import implements core.Driver.
func (f *Faulty) Import(ctx context.Context, id core.NodeID, load core.Load) (core.Report, error) {
	if err := f.breach(); err != nil {
		return core.Report{}, err
	}
	return f.Driver.Import(ctx, id, load)
}

func (f *Faulty) breach() error {
	switch f.Breach {
	case BareError:
		return errors.New("something went wrong")
	case Deaf:
		time.Sleep(10 * time.Second)
	case Babble:
		fmt.Println("hello from a driver that prints")
	case Panic:
		panic("a faulty driver")
	case Exit:
		// Not os.Stderr: while a driver serves, that goes over the wire and is lost with the process.
		fmt.Fprintln(os.NewFile(2, "stderr"), "a faulty driver leaves")
		os.Exit(7)
	}
	return nil
}
