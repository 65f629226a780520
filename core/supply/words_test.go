package supply

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
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

// An installer may have ended before anybody has begun to read what it has printed.
func TestWordsThatAreReadLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lastWords{}
		l.expect("i1")
		for range 2 {
			time.AfterFunc(wordsWait/2, func() { l.collect("i1", strings.NewReader("late ")) })
		}
		if said, _ := l.take("i1"); said != "late late" {
			t.Errorf("it said %q", said)
		}
		l.expect("i2") // whose output never ends
		began := time.Now()
		if said, _ := l.take("i2"); said != "" || time.Since(began) != wordsWait || len(l.said) > 0 {
			t.Errorf("it said %q after %v", said, time.Since(began))
		}
	})
}
