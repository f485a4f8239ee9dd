package consume

import (
	"fmt"
	"io"

	"github.com/segmentio/kafka-go/protocol"
)

// directed sends a message of the library to a broker of our choice. The library's own routing would
// look up the coordinator before each commit, and open a connection per partition for ListOffsets.
type directed struct {
	protocol.Message
	broker   int32
	clientID string
	version  int16
}

// Broker implements protocol.BrokerMessage.
func (d *directed) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	return brokerOf(cluster, d.broker)
}

func brokerOf(cluster protocol.Cluster, id int32) (protocol.Broker, error) {
	b, ok := cluster.Brokers[id]
	if !ok {
		return protocol.Broker{}, fmt.Errorf("broker %d is not in the cluster's metadata: %w", id, errBrokerUnknown)
	}
	return b, nil
}

// Required implements protocol.RawExchanger: it hands us the versions that the connection negotiated.
func (d *directed) Required(versions map[protocol.ApiKey]int16) bool {
	d.version = versions[d.ApiKey()]
	return true
}

// RawExchange implements protocol.RawExchanger.
func (d *directed) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if p, ok := d.Message.(protocol.PreparedMessage); ok {
		p.Prepare(d.version)
	}
	return protocol.RoundTrip(rw, d.version, correlation, d.clientID, d.Message)
}

// correlation is the same for all requests: a connection carries one at a time, and is closed when
// its answer was not read to the end.
const correlation = 1
