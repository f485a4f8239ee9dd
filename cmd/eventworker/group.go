package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"eventworker/internal/consume"
	"eventworker/internal/worker"
)

func newGroupCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "group",
		Short: "Shows the consumer group, moves its offsets, frees a partition",
		Example: `  eventworker group show --config eventworker.yaml
  eventworker group reset --config eventworker.yaml --to-time 2h --dry-run
  eventworker group skip --admin 127.0.0.1:9402 --partition 3 --offset 1234`,
	}
	cmd.AddCommand(newGroupShowCommand(a), newGroupResetCommand(a), newGroupSkipCommand(a))
	return cmd
}

// groupAdmin connects to the configured group.
func (a *app) groupAdmin() (*consume.Admin, string, error) {
	loaded, err := a.loadConfig(false)
	if err != nil {
		return nil, "", err
	}
	k := &loaded.Config.Kafka
	secure, mechanism, err := worker.Security(k)
	if err != nil {
		return nil, "", failIn(categoryConfig, "eventworker config check", "%w", err)
	}
	admin, err := consume.NewAdmin(consume.Config{
		Brokers: k.Brokers, ClientID: k.ClientID, TLS: secure, SASL: mechanism,
		Group: k.Group, Topics: k.Topics, ReplayTopic: k.ReplayTopic,
	})
	return admin, k.Group, err
}

// readGroup asks the brokers; while they are away it fails after a few seconds.
func readGroup(ctx context.Context, admin *consume.Admin) (*consume.Group, error) {
	g, err := admin.Group(ctx)
	if err != nil {
		return nil, failf("eventworker config print --origin", "%w", err)
	}
	return g, nil
}

// selection says which partitions a command is about.
type selection struct {
	topics     []string
	partitions []int32
}

func (s *selection) flags(a *app, cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&s.topics, "topic", nil, "only this `TOPIC`; may repeat (default: all input topics)")
	cmd.Flags().Int32SliceVar(&s.partitions, "partition", nil, "only these partitions, as `N,N` (default: all)")
	a.configured(cmd, "topic", groupTopics)
}

// of gives the group's partitions that are selected; a topic or partition that is not there is an error.
func (s *selection) of(cmd *cobra.Command, g *consume.Group) (list []consume.GroupPartition, err error) {
	metTopic, metPartition := map[string]bool{}, map[int32]bool{}
	for _, p := range g.Partitions {
		if len(s.topics) > 0 && !slices.Contains(s.topics, p.Topic) {
			continue
		}
		metTopic[p.Topic] = true
		if len(s.partitions) > 0 && !slices.Contains(s.partitions, p.Partition) {
			continue
		}
		metPartition[p.Partition] = true
		list = append(list, p)
	}
	for _, t := range s.topics {
		if !metTopic[t] {
			return nil, usagef(cmd.CommandPath()+" --help", "--topic %s is not an existing input topic of the configuration", t)
		}
	}
	for _, n := range s.partitions {
		if !metPartition[n] {
			return nil, usagef(cmd.CommandPath()+" --help", "--partition %d does not exist", n)
		}
	}
	return list, nil
}

// number is an offset in a table, – where it is not known.
func number(n int64) string {
	if n < 0 {
		return "–"
	}
	return fmt.Sprint(n)
}
