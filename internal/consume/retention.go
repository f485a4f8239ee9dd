package consume

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
)

// Retention says how long a topic keeps its records.
type Retention struct {
	Topic string
	// For is retention.ms; negative: no bound in time.
	For time.Duration
	// Policy is cleanup.policy, such as delete, or compact.
	Policy string
}

// Retentions asks the brokers how long topics keep their records. A topic that does not exist is left out.
// So is one that the user may not ask about, and the error names it as [DeniedError]; the list holds the others.
func (c *Consumer) Retentions(ctx context.Context, topics []string) (list []Retention, err error) {
	client := &kafka.Client{Addr: c.addr, Transport: c.transport, Timeout: 10 * time.Second}
	req := &kafka.DescribeConfigsRequest{}
	for _, topic := range topics {
		req.Resources = append(req.Resources, kafka.DescribeConfigRequestResource{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{"retention.ms", "cleanup.policy"},
		})
	}
	res, err := client.DescribeConfigs(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("how long topics keep their records: %w", err)
	}
	var refused []error
	for _, r := range res.Resources {
		if r.Error != nil {
			if errors.Is(r.Error, kafka.TopicAuthorizationFailed) || errors.Is(r.Error, kafka.ClusterAuthorizationFailed) {
				refused = append(refused, &DeniedError{Resource: "topic " + r.ResourceName, Operation: "DescribeConfigs", Err: r.Error})
			}
			continue
		}
		one := Retention{Topic: r.ResourceName, For: -1, Policy: "delete"}
		for _, entry := range r.ConfigEntries {
			switch entry.ConfigName {
			case "retention.ms":
				if ms, err := strconv.ParseInt(entry.ConfigValue, 10, 64); err == nil && ms >= 0 && ms < int64(100*365*24*time.Hour/time.Millisecond) {
					one.For = time.Duration(ms) * time.Millisecond
				}
			case "cleanup.policy":
				one.Policy = entry.ConfigValue
			}
		}
		list = append(list, one)
	}
	return list, errors.Join(refused...)
}
