package consume

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"
)

// Kind says what an error of the brokers means to the person who has to act.
type Kind string

// The kinds of errors.
const (
	KindNone        Kind = ""
	KindAway        Kind = "broker-away"    // no connection, or it broke
	KindAuth        Kind = "authentication" // SASL refused
	KindDenied      Kind = "authorization"  // ACLs refuse topic or group
	KindTLS         Kind = "tls"            // one side speaks TLS and the other does not, or a certificate is refused
	KindCoordinator Kind = "coordinator"    // the group coordinator is loading, moving or not there yet: passes by itself
	KindTopic       Kind = "topic"          // an input topic does not exist
	KindCorrupt     Kind = "corrupt"        // a record batch cannot be read
	KindOther       Kind = "other"
)

// security is what the client speaks: an error can mean something else without it.
type security struct {
	tls, sasl bool
	group     string // for the answers that name nothing
}

// classify says what kind of failure err is, and wraps it with what to do.
func classify(err error, on security) (Kind, error) {
	var (
		code      kafka.Error
		record    tls.RecordHeaderError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
	)
	switch {
	case err == nil:
		return KindNone, nil
	case errors.As(err, &record):
		return KindTLS, fmt.Errorf("%w: the broker does not speak TLS on this port: use its TLS port or set kafka.tls.enabled to false", err)
	case errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &invalid), errors.As(err, &verify):
		return KindTLS, fmt.Errorf("%w: check kafka.tls.ca_file and kafka.tls.server_name", err)
	case strings.Contains(err.Error(), "remote error: tls"): // an alert; its type does not come through
		return KindTLS, fmt.Errorf("%w: the broker ended the TLS handshake: check kafka.tls.cert_file and kafka.tls.key_file", err)
	case strings.Contains(err.Error(), "expecting TLS"):
		return KindTLS, fmt.Errorf("%w: set kafka.tls.enabled or use the plaintext port", err)
	case errors.As(err, &code):
		return classifyCode(code, err, on)
	case strings.Contains(err.Error(), "SASL"):
		return KindAuth, fmt.Errorf("%w: check kafka.sasl", err)
	case closedByPeer(err):
		return KindAway, fmt.Errorf("%w: the connection was closed: %s", err, on.whyClosed())
	case isTimeout(err) && errors.As(err, new(*UnansweredError)):
		return KindAway, fmt.Errorf("%w: %s", err, on.whySilent())
	case isAway(err):
		return KindAway, err
	}
	return KindOther, err
}

// whyClosed is what to look at where the other side closes connections: the one reason is a port that
// speaks TLS, or does not, and the other that it refuses who is asking without a word.
func (on security) whyClosed() string {
	hint := "if this is its TLS port, set kafka.tls.enabled to true"
	if on.tls {
		hint = "if this is its plaintext port, set kafka.tls.enabled to false"
	}
	if on.sasl {
		hint += "; if it refuses the credentials, check kafka.sasl"
	}
	return hint
}

// whySilent is what to look at where something listens and does not answer.
func (on security) whySilent() string {
	if on.tls {
		return "does Kafka listen there, with TLS? If it is its plaintext port, set kafka.tls.enabled to false"
	}
	return "does Kafka listen there?"
}

// isAway: the broker did not answer, and said nothing of why.
func isAway(err error) bool {
	return isTimeout(err) || closedByPeer(err) || errors.As(err, new(net.Error)) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &netErr) && netErr.Timeout()
}

func closedByPeer(err error) bool {
	for _, one := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// UnansweredError says that none of the configured addresses answered as a broker does.
type UnansweredError struct {
	// Brokers are the addresses that were tried, as configured.
	Brokers []string
	// Err is how the last try ended.
	Err error
}

// Error names the addresses.
func (e *UnansweredError) Error() string {
	return fmt.Sprintf("no broker answers at %s, which kafka.brokers names: %v", strings.Join(e.Brokers, ", "), e.Err)
}

// Unwrap gives how the last try ended.
func (e *UnansweredError) Unwrap() error { return e.Err }

// firstAnswer names the configured addresses in the error of a first question to the cluster, where that
// means that nobody answered it. What TLS finds wrong was an answer.
func (c *Consumer) firstAnswer(err error) error {
	if kind, _ := classify(err, c.condition.on); kind != KindAway || errors.As(err, new(kafka.Error)) {
		return err
	}
	return &UnansweredError{Brokers: c.cfg.Brokers, Err: err}
}

// DeniedError says that the brokers refuse an operation to this user.
type DeniedError struct {
	// Resource is "topic NAME", "group NAME" or "cluster".
	Resource string
	// Operation is Kafka's word for what an ACL must allow, such as Read.
	Operation string
	// Err is the broker's answer.
	Err error
}

// denied is the code as an error, with resource and operation where the brokers refuse it to this user.
func denied(code kafka.Error, resource, operation string) error {
	switch code {
	case kafka.TopicAuthorizationFailed, kafka.GroupAuthorizationFailed, kafka.ClusterAuthorizationFailed:
		return &DeniedError{Resource: resource, Operation: operation, Err: code}
	}
	return code
}

// Error names resource and operation.
func (e *DeniedError) Error() string {
	return fmt.Sprintf("%v: the user needs the operation %s on %s: add an ACL that allows it", e.Err, e.Operation, e.Resource)
}

// Unwrap gives the broker's answer.
func (e *DeniedError) Unwrap() error { return e.Err }

func classifyCode(code kafka.Error, err error, on security) (Kind, error) {
	var denied *DeniedError
	if errors.As(err, &denied) {
		return KindDenied, err
	}
	switch code {
	case kafka.SASLAuthenticationFailed, kafka.UnsupportedSASLMechanism, kafka.IllegalSASLState:
		return KindAuth, fmt.Errorf("%w: check kafka.sasl", err)
	case kafka.TopicAuthorizationFailed:
		return KindDenied, fmt.Errorf("%w: the user needs the operations Read and Describe on the topics: add ACLs that allow them", err)
	case kafka.GroupAuthorizationFailed, kafka.ClusterAuthorizationFailed:
		return KindDenied, fmt.Errorf("%w: the user needs the operation Read on group %s: add an ACL that allows it", err, on.group)
	case kafka.GroupCoordinatorNotAvailable, kafka.GroupLoadInProgress, kafka.NotCoordinatorForGroup,
		kafka.RebalanceInProgress, kafka.UnknownMemberId, kafka.IllegalGeneration, kafka.MemberIDRequired:
		return KindCoordinator, err
	case kafka.UnknownTopicOrPartition:
		return KindTopic, err
	case kafka.BrokerNotAvailable, kafka.LeaderNotAvailable, kafka.NotLeaderForPartition, kafka.RequestTimedOut, kafka.NetworkException:
		return KindAway, err
	}
	return KindOther, err
}

// condition remembers what is wrong now, so that each change is logged once and not each try.
type condition struct {
	log *zap.Logger
	on  security

	mu    sync.Mutex
	wrong map[string]trouble // by what was being done
}

type trouble struct {
	kind  Kind
	err   error
	since time.Time
}

func newCondition(log *zap.Logger, on security) *condition {
	return &condition{log: log, on: on, wrong: map[string]trouble{}}
}

// report notes that what failed with err, or went well if err is nil.
func (c *condition) report(what string, err error) {
	kind, err := classify(err, c.on)
	c.mu.Lock()
	defer c.mu.Unlock()
	before, was := c.wrong[what]
	switch {
	case err == nil && !was:
	case err == nil:
		delete(c.wrong, what)
		c.log.Info("recovered", zap.String("what", what), zap.Duration("after", time.Since(before.since)))
	case was && before.kind == kind:
		before.err = err
		c.wrong[what] = before
	default:
		since := time.Now()
		if was {
			since = before.since
		}
		c.wrong[what] = trouble{kind, err, since}
		write := c.log.Warn
		if kind == KindCoordinator {
			write = c.log.Info // normal on a fresh cluster and while a broker restarts
		}
		write("failing, will try again", zap.String("what", what), zap.String("kind", string(kind)), zap.Error(err))
	}
}

// forget drops what a generation reported: the next one may have nothing to do that could recover it.
func (c *condition) forget(what ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range what {
		delete(c.wrong, w)
	}
}

// oldest is what has been wrong for longest.
func (c *condition) oldest() (what string, t trouble) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for w, x := range c.wrong {
		if t.err == nil || x.since.Before(t.since) {
			what, t = w, x
		}
	}
	return what, t
}
