package main

import (
	"fmt"
	"testing"
)

// TestLoudBuild has a build that says more than anybody wants to read.
func TestLoudBuild(t *testing.T) {
	var said beginning
	for range 1000 {
		fmt.Fprintf(&said, "%01000d", 0)
	}
	if len(said.text) != maxSaid || cap(said.text) > 2*maxSaid || said.more != 1e6-maxSaid {
		t.Errorf("%d bytes are kept in %d, and %d are more", len(said.text), cap(said.text), said.more)
	}
}
