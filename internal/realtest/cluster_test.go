package realtest

import (
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// A cluster of three goes on while one of it is away, and takes it back.
func TestAClusterOutlivesTheLossOfABroker(t *testing.T) {
	nodes := OwnCluster(t)
	topic := Topic(t, nodes[0].Addr, 6)
	w := &kafka.Writer{Addr: kafka.TCP(nodes[0].Addr), Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, MaxAttempts: 100}
	defer w.Close()
	write := func() {
		for range 6 {
			if err := w.WriteMessages(t.Context(), kafka.Message{Value: []byte("v")}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write()
	nodes[2].Kill()
	write()
	if err := nodes[2].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	write()
}
