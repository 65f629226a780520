package worker

import (
	"strings"
	"testing"
)

// What an installer prints is read by another goroutine than the one that forgets it, in any order.
func TestWordsOfForgottenInstaller(t *testing.T) {
	var l lastWords
	l.expect("i1")
	l.forget("i1")
	rest := strings.NewReader("too late")
	l.collect("i1", rest)
	if rest.Len() > 0 {
		t.Error("its output is not read to the end: it would stand still")
	}
}
