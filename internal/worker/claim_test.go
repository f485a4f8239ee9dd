package worker

import (
	"sync"
	"sync/atomic"
	"testing"

	"eventworker/internal/join"
)

// Meant for the race detector: a message that waited is encoded by the task while a sender finishes
// another one of the same chunk.
func TestAMessageIsEncodedWhileAnotherOfItsChunkIsFinished(t *testing.T) {
	p := &progress{left: make([]atomic.Int32, 2)}
	r := &runner{task: &join.Task[message]{}}
	r.Encoded(message{p, 0}, 1, true)
	var senders sync.WaitGroup
	senders.Go(func() {
		if !p.isClaimed(0) {
			t.Error("the claim of the first message is lost")
		}
	})
	r.Encoded(message{p, 1}, 1, true)
	senders.Wait()
	if !p.isClaimed(1) {
		t.Error("the claim of the second message is lost")
	}
}
