package worker

import (
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"eventworker/internal/telemetry"
)

// TestRetentionThatMayNotBeAskedForIsSaidOnce: without it an alert is blind, and everything else works.
func TestRetentionThatMayNotBeAskedForIsSaidOnce(t *testing.T) {
	w := newWorld(t)
	w.cluster.ControlKey(int16(kmsg.DescribeConfigs), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		req := r.(*kmsg.DescribeConfigsRequest)
		res := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, asked := range req.Resources {
			one := kmsg.NewDescribeConfigsResponseResource()
			one.ResourceType, one.ResourceName, one.ErrorCode = asked.ResourceType, asked.ResourceName, int16(kafka.TopicAuthorizationFailed)
			res.Resources = append(res.Resources, one)
		}
		return res, nil, true
	})
	w.send(clicks("u", "a", 3)...)
	run := w.start(w.config())
	run.settles(3)
	run.saysOnce("DescribeConfigs on topic " + topic)
	if run.scrape().has(telemetry.TopicRetention) {
		t.Error("a retention that nobody told is in the scrape")
	}
	run.stop()
}
