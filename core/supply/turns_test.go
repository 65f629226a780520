package supply

import (
	"testing"
	"testing/synctest"
)

// After a start the packages of a hundred functions wait for their turns. A deploy waits for one of them
// besides the one under way.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns, under, gone := newTurns(), make(chan struct{}), 0
		work := func() {
			defer turns.takeLater()()
			<-under
			gone++
		}
		for range 100 {
			go work()
		}
		synctest.Wait()
		deployed := make(chan int, 1)
		go func() {
			defer turns.take(func() func() { return func() {} })()
			deployed <- gone
		}()
		synctest.Wait()
		close(under)
		if gone := <-deployed; gone > 2 {
			t.Errorf("a deploy has waited for %d others", gone)
		}
		synctest.Wait()
		if gone != 100 {
			t.Errorf("%d have had their turns", gone)
		}
	})
}
