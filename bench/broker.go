package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"

	"eventworker/internal/realtest/servers"
)

// A broker is where the topics lie.
type broker struct {
	addr string
	pid  int // 0: a broker that was running before
	stop func() error
}

// startBroker starts a broker of the kind, or takes the one at an address.
func startBroker(ctx context.Context, kind, dir string) (*broker, error) {
	switch kind {
	case "kfake":
		p, addr, err := startRole(ctx, dir, "broker")
		if err != nil {
			return nil, err
		}
		return &broker{addr: addr, pid: p.pid(), stop: p.stop}, nil
	case "kafka":
		k, err := servers.StartKafka(ctx, servers.KafkaOptions{Properties: map[string]string{"log.retention.ms": "-1"}})
		if err != nil {
			return nil, err
		}
		return &broker{addr: k.Addr, pid: childNamed("java"), stop: k.Close}, nil
	}
	return &broker{addr: kind, stop: func() error { return nil }}, nil
}

// runBroker is the role of the embedded broker: it prints its address.
func runBroker(ctx context.Context) error {
	ctx, cancel := untilStopped(ctx)
	defer cancel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		return err
	}
	defer cluster.Close()
	fmt.Println(cluster.ListenAddrs()[0])
	<-ctx.Done()
	return nil
}
