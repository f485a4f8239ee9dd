package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/segmentio/kafka-go"

	"eventworker/internal/config"
	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/dlq"
	"eventworker/internal/insights"
	"eventworker/internal/querystore"
)

// The categories of errors, for scripts: a new one may come, an old one keeps its meaning. help errors says
// what each means.
const (
	categoryCall     = "call"
	categoryConfig   = "config"
	categoryAuth     = "auth"
	categoryNetwork  = "network"
	categoryAPI      = "api"
	categoryData     = "data"
	categoryGuard    = "guard"
	categoryInternal = "internal"
)

// categoryOf says what kind of error ends a command. What a command's own code says comes before what its
// exit code and the types of the causes tell.
func categoryOf(ctx context.Context, err error) string {
	var f *failure
	own := errors.As(err, &f)
	switch {
	case own && f.category != "":
		return f.category
	case isConfig(err):
		return categoryConfig
	case own && f.code == exitUsage:
		return categoryCall
	case own && f.code == exitGuard, wasStopped(ctx, err) != nil:
		return categoryGuard
	case own && f.code == exitRemainder:
		return categoryData
	case !errors.As(err, new(ran)) && !own:
		return categoryCall // cobra's
	}
	return causeCategory(err)
}

// errorDocumentSchema is the schema of an error as JSON.
//
//go:embed schemas/error.v1.schema.json
var errorDocumentSchema []byte

func isConfig(err error) bool {
	var wrong *config.Error
	var call *dlq.CallError
	return errors.As(err, &wrong) || errors.As(err, &call) && call.Setting != ""
}

// causeCategory goes by the types of an error's causes.
func causeCategory(err error) string {
	var (
		call    *dlq.CallError
		code    kafka.Error
		refused *adminRefusal
		unfit   *querystore.UnfitError
	)
	switch {
	case errors.As(err, &call):
		return categoryCall
	case errors.As(err, &refused):
		return refused.category()
	case isAPI(err):
		return categoryAPI
	case isAuth(err):
		return categoryAuth
	case errors.As(err, &code):
		return codeCategory(code)
	case errors.As(err, &unfit):
		return categoryConfig
	case isNetwork(err):
		return categoryNetwork
	case isData(err):
		return categoryData
	}
	return categoryInternal
}

func isAPI(err error) bool {
	var (
		passing  *insights.RetryableError
		refused  *insights.RejectedError
		tooLarge *insights.TooLargeError
		wrong    *insights.MisconfiguredError
	)
	return errors.As(err, &passing) || errors.As(err, &refused) || errors.As(err, &tooLarge) || errors.As(err, &wrong)
}

// isAuth: one side does not accept who the other one is. Not all that the library says of SASL, or of an
// alert of TLS, has a type.
func isAuth(err error) bool {
	var (
		code      kafka.Error
		alert     tls.AlertError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &code):
		return kafkaRefusals[code]
	case errors.As(err, &alert), errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &invalid), errors.As(err, &verify):
		return true
	}
	return strings.Contains(err.Error(), "remote error: tls") || strings.Contains(err.Error(), "SASL")
}

// kafkaRefusals are the codes with which brokers refuse a user.
var kafkaRefusals = map[kafka.Error]bool{
	kafka.TopicAuthorizationFailed: true, kafka.GroupAuthorizationFailed: true, kafka.ClusterAuthorizationFailed: true,
	kafka.SASLAuthenticationFailed: true, kafka.UnsupportedSASLMechanism: true, kafka.IllegalSASLState: true,
	kafka.TransactionalIDAuthorizationFailed: true, kafka.DelegationTokenAuthorizationFailed: true,
}

func codeCategory(code kafka.Error) string {
	switch {
	case code == kafka.UnknownTopicOrPartition, code == kafka.InvalidTopic:
		return categoryConfig
	case code == kafka.BrokerNotAvailable, code.Timeout(), code.Temporary():
		return categoryNetwork
	}
	return categoryInternal
}

func isNetwork(err error) bool {
	var (
		netErr net.Error
		record tls.RecordHeaderError
		redis  *querystore.RedisError
	)
	if errors.As(err, &netErr) || errors.As(err, &record) || errors.As(err, &redis) {
		return true
	}
	for _, one := range []error{errNoWorker, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNREFUSED, syscall.ECONNRESET} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

func isData(err error) bool {
	var (
		letter *deadletter.FormatError
		syntax *json.SyntaxError
		typed  *json.UnmarshalTypeError
		record *querystore.RecordError
	)
	return errors.As(err, &letter) || errors.As(err, &syntax) || errors.As(err, &typed) || errors.As(err, &record)
}

// adminRefusal is an answer of a worker's admin server other than 200.
type adminRefusal struct {
	status int
	text   string
}

func (r *adminRefusal) Error() string { return r.text }

func (r *adminRefusal) category() string {
	switch r.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return categoryAuth
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed:
		return categoryCall
	case http.StatusConflict, http.StatusPreconditionFailed:
		return categoryGuard
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return categoryNetwork
	}
	return categoryInternal
}

// kafkaNames are the protocol's names of the codes that a person meets, with what they mean. %s is the
// group, the topic or what else the error names.
var kafkaNames = map[kafka.Error][2]string{
	kafka.TopicAuthorizationFailed:     {"not authorised for %s", "TOPIC_AUTHORIZATION_FAILED"},
	kafka.GroupAuthorizationFailed:     {"not authorised for %s", "GROUP_AUTHORIZATION_FAILED"},
	kafka.ClusterAuthorizationFailed:   {"not authorised for the cluster", "CLUSTER_AUTHORIZATION_FAILED"},
	kafka.SASLAuthenticationFailed:     {"the broker refuses the user name or password", "SASL_AUTHENTICATION_FAILED"},
	kafka.UnsupportedSASLMechanism:     {"the broker does not know the mechanism of kafka.sasl.mechanism", "UNSUPPORTED_SASL_MECHANISM"},
	kafka.UnknownTopicOrPartition:      {"no such topic or partition", "UNKNOWN_TOPIC_OR_PARTITION"},
	kafka.BrokerNotAvailable:           {"no broker answers", "BROKER_NOT_AVAILABLE"},
	kafka.LeaderNotAvailable:           {"the partition has no leader at the moment", "LEADER_NOT_AVAILABLE"},
	kafka.NotLeaderForPartition:        {"the partition's leader is moving", "NOT_LEADER_OR_FOLLOWER"},
	kafka.GroupCoordinatorNotAvailable: {"the group has no coordinator at the moment", "COORDINATOR_NOT_AVAILABLE"},
	kafka.NotCoordinatorForGroup:       {"the group's coordinator is moving", "NOT_COORDINATOR"},
	kafka.GroupLoadInProgress:          {"the group's coordinator is starting", "COORDINATOR_LOAD_IN_PROGRESS"},
	kafka.RequestTimedOut:              {"the broker did not answer in time", "REQUEST_TIMED_OUT"},
	kafka.NotEnoughReplicas:            {"too few replicas are in sync", "NOT_ENOUGH_REPLICAS"},
	kafka.MessageSizeTooLarge:          {"the record is larger than the topic takes", "MESSAGE_TOO_LARGE"},
	kafka.PolicyViolation:              {"a policy of the brokers forbids it", "POLICY_VIOLATION"},
}

// inKafkaWords translates what a broker said, and keeps its own word for it. resource names what a refusal
// is about where the error does not.
func inKafkaWords(err error, text, group string) string {
	var code kafka.Error
	if !errors.As(err, &code) {
		return text
	}
	words, ok := kafkaNames[code]
	if !ok {
		return text
	}
	resource := "the topic"
	if code == kafka.GroupAuthorizationFailed {
		resource = "group " + group
	}
	var denied *consume.DeniedError
	if errors.As(err, &denied) {
		resource = denied.Resource
	}
	if bare := "does not exist: " + code.Error(); code == kafka.UnknownTopicOrPartition && strings.Contains(text, bare) {
		return strings.Replace(text, bare, "does not exist ("+words[1]+")", 1)
	}
	return strings.Replace(text, code.Error(), strings.ReplaceAll(words[0], "%s", resource)+" ("+words[1]+")", 1)
}
