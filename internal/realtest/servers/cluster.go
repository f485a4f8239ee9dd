package servers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
)

// StartCluster starts so many brokers that are one cluster: each partition is kept by all of them, and
// a write is acknowledged when all but one have it. Each broker is a controller too, so a minority may
// be stopped, killed and started again.
func StartCluster(ctx context.Context, n int, options KafkaOptions) ([]*Kafka, error) {
	jars, err := KafkaJars(ctx)
	if err != nil {
		return nil, err
	}
	controllers := make([]int, n)
	var voters []string
	for i := range controllers {
		if controllers[i], err = freePort(); err != nil {
			return nil, err
		}
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, address(controllers[i])))
	}
	options.cluster = newClusterID()
	nodes, errs := make([]*Kafka, n), make([]error, n)
	var starting sync.WaitGroup // none is ready before a majority is there
	for i := range nodes {
		o := options
		o.controller = controllers[i]
		o.Properties = clusterProperties(i+1, n, strings.Join(voters, ","))
		maps.Copy(o.Properties, options.Properties)
		starting.Go(func() { nodes[i], errs[i] = startKafka(ctx, jars, o) })
	}
	starting.Wait()
	if err := errors.Join(errs...); err != nil {
		for _, k := range nodes {
			if k != nil {
				k.Kill()
				err = errors.Join(err, k.Close())
			}
		}
		return nil, err
	}
	return nodes, nil
}

func clusterProperties(id, n int, voters string) map[string]string {
	all, most := strconv.Itoa(n), strconv.Itoa(max(1, n-1))
	return map[string]string{
		"node.id":                                          strconv.Itoa(id),
		"controller.quorum.voters":                         voters,
		"default.replication.factor":                       all,
		"min.insync.replicas":                              most,
		"offsets.topic.replication.factor":                 all,
		"transaction.state.log.replication.factor":         all,
		"transaction.state.log.min.isr":                    most,
		"share.coordinator.state.topic.replication.factor": all,
		"share.coordinator.state.topic.min.isr":            most,
	}
}
