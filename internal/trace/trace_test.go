package trace

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// receiver takes spans as a collector does.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	got []*tracepb.ResourceSpans
}

func (r *receiver) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.got = append(r.got, req.GetResourceSpans()...)
	return &collector.ExportTraceServiceResponse{}, nil
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	var export collector.ExportTraceServiceRequest
	if req.URL.Path != "/v1/traces" || proto.Unmarshal(body, &export) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_, _ = r.Export(req.Context(), &export)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// clean takes the variables of OpenTelemetry out of the environment.
func clean(t *testing.T) {
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
}

func TestSpansReachACollectorByEitherProtocol(t *testing.T) {
	for _, protocol := range []string{"", "http/protobuf", "grpc"} {
		clean(t)
		r := &receiver{}
		if protocol == "grpc" {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s := grpc.NewServer()
			collector.RegisterTraceServiceServer(s, r)
			go func() { _ = s.Serve(l) }()
			t.Cleanup(s.Stop)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String())
		} else {
			s := httptest.NewServer(r)
			t.Cleanup(s.Close)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", s.URL)
		}
		t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
		t.Setenv("OTEL_SERVICE_NAME", "shop-events")
		tracer, err := FromEnvironment(t.Context(), "v1", zap.NewNop())
		if err != nil || tracer == nil {
			t.Fatalf("%q: %v %v", protocol, tracer, err)
		}
		span := tracer.Chunk("events", 3, 42, 7)
		to, ok := Parse([]byte(parent))
		if !ok || !span.Recording() {
			t.Fatalf("%q: parsed %t, recording %t", protocol, ok, span.Recording())
		}
		span.Link(to)
		span.End()
		request := tracer.Request("default", "insights.us.algolia.io", 7, 2)
		request.EndRequest(503, "retryable")
		if err := tracer.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(r.got) == 0 {
			t.Fatalf("%q: nothing arrived", protocol)
		}
		spans := r.got[0].GetScopeSpans()[0].GetSpans()
		if len(spans) != 2 || spans[0].GetName() != "process events" || len(spans[0].GetLinks()) != 1 || spans[0].GetParentSpanId() != nil ||
			spans[1].GetStatus().GetCode() != tracepb.Status_STATUS_CODE_ERROR {
			t.Errorf("%q: %v", protocol, spans)
		}
		if about := r.got[0].GetResource().String(); !strings.Contains(about, "shop-events") || !strings.Contains(about, "v1") {
			t.Errorf("%q: the resource is %s", protocol, about)
		}
	}
}

func TestTracesAreOffUnlessAnEndpointIsSet(t *testing.T) {
	for _, env := range []map[string]string{
		{},
		{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
	} {
		clean(t)
		for name, value := range env {
			t.Setenv(name, value)
		}
		if tracer, err := FromEnvironment(t.Context(), "v1", zap.NewNop()); tracer != nil || err != nil {
			t.Errorf("%v: %v %v", env, tracer, err)
		}
	}
	clean(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
	if _, err := FromEnvironment(t.Context(), "v1", zap.NewNop()); err == nil || !strings.Contains(err.Error(), "http/protobuf, grpc") {
		t.Errorf("an unknown protocol: %v", err)
	}
	clean(t)
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
	t.Setenv("OTEL_TRACES_SAMPLER", "always")
	if tracer, err := FromEnvironment(t.Context(), "v1", zap.NewNop()); tracer != nil || err != nil {
		t.Errorf("variables that nothing reads, for there is no endpoint: %v %v", tracer, err)
	}
	clean(t)
	var none *Tracer
	span := none.Chunk("events", 0, 0, 1)
	if span.Recording() || span.Context().IsValid() {
		t.Error("no tracer, and a span")
	}
	span.End()
	none.Request("a", "h", 1, 1).EndRequest(200, "")
	if err := none.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestVariablesThatCannotBeUsedAreErrorsWithoutSecrets(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "::bad", "OTEL_EXPORTER_OTLP_ENDPOINT"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318", "http://collector:4318"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "http://collector:4318"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://u:secret@host", "http://collector:4318"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:secret@host:port", "http://collector:4318"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector", "want an address"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem", "no such file"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", "trace_test.go", "no certificate"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", "/dev/zero", "is no file"},
		{"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/nowhere/client.pem", "both or neither"},
		{"OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/nowhere/client.key", "both or neither"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "Bearer secret", "NAME=VALUE"},
		{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=%zzsecret", "NAME=VALUE"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "a=b,the secret=c", "NAME=VALUE"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "milliseconds"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "5s", "milliseconds"},
		{"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "-1", "milliseconds"},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "gzip, none"},
		{"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd", "gzip, none"},
		{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "http/protobuf, grpc"},
		{"OTEL_EXPORTER_OTLP_INSECURE", "yes", "true or false"},
		{"OTEL_SDK_DISABLED", "yes", "true or false"},
		{"OTEL_TRACES_EXPORTER", "console", "otlp, none"},
		{"OTEL_TRACES_SAMPLER", "always", "always_on, always_off"},
		{"OTEL_TRACES_SAMPLER_ARG", "much", "from 0 to 1"},
		{"OTEL_TRACES_SAMPLER_ARG", "NaN", "from 0 to 1"},
		{"OTEL_TRACES_SAMPLER_ARG", "10", "from 0 to 1"},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "-1", "from 1 to 1000000"},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "0", "from 1 to 1000000"},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "9999999999999", "from 1 to 1000000"},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "99999999999999999999999", "from 1 to 1000000"},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-5", "from 1 to 2048"},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096", "from 1 to 2048"},
		{"OTEL_BSP_SCHEDULE_DELAY", "x", "milliseconds"},
		{"OTEL_BSP_EXPORT_TIMEOUT", "1m", "milliseconds"},
		{"OTEL_SPAN_LINK_COUNT_LIMIT", "many", "from -1 to"},
		{"OTEL_RESOURCE_ATTRIBUTES", "nothing", "missing value"},
	} {
		for _, protocol := range []string{"http/protobuf", "grpc"} {
			clean(t)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			t.Setenv("OTEL_TRACES_SAMPLER", "traceidratio")
			t.Setenv(c.name, c.value)
			tracer, err := FromEnvironment(t.Context(), "v1", zap.NewNop())
			if err == nil {
				_ = tracer.Close(t.Context())
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.name) || strings.Contains(err.Error(), "the secret") ||
				strings.Contains(err.Error(), "zzsecret") || strings.Contains(err.Error(), "u:secret") || strings.Contains(err.Error(), "Bearer") {
				t.Errorf("%s=%s, %s: %v, want it and %q in it", c.name, c.value, protocol, err, c.want)
			}
		}
	}
}

// TestVariablesAsTheyAreMeantAreTaken: the check refuses nothing that works.
func TestVariablesAsTheyAreMeantAreTaken(t *testing.T) {
	clean(t)
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b, x-tenant = shop",
		"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "500", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "none",
		"OTEL_EXPORTER_OTLP_INSECURE": "TRUE", "OTEL_SDK_DISABLED": "False", "OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "ParentBased_TraceIDRatio",
		"OTEL_TRACES_SAMPLER_ARG": "0.01", "OTEL_BSP_MAX_QUEUE_SIZE": "10000", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4096", "OTEL_BSP_SCHEDULE_DELAY": "1000",
		"OTEL_BSP_EXPORT_TIMEOUT": "100", "OTEL_ATTRIBUTE_COUNT_LIMIT": "-1", "OTEL_SERVICE_NAME": "", "OTEL_EXPORTER_OTLP_CERTIFICATE": "",
	} {
		t.Setenv(name, value)
	}
	tracer, err := FromEnvironment(t.Context(), "v1", zap.NewNop())
	if err != nil || tracer == nil {
		t.Fatal(err)
	}
	if err := tracer.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSamplerOfTheEnvironmentHolds(t *testing.T) {
	clean(t)
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	tracer, err := New(t.Context(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tracer.Close(t.Context()) }()
	if tracer.Chunk("events", 0, 0, 1).Recording() {
		t.Error("a span is recorded although the sampler says no")
	}
}

func TestParseKeepsToTheStandard(t *testing.T) {
	c, ok := Parse([]byte(parent))
	if !ok || Format(c) != parent || !c.IsRemote() {
		t.Errorf("%v %t", c, ok)
	}
	unsampled := strings.TrimSuffix(parent, "01") + "00"
	if c, ok := Parse([]byte(unsampled)); !ok || Format(c) != unsampled {
		t.Errorf("%v %t", c, ok)
	}
	if _, ok := Parse([]byte("01" + parent[2:] + "-more")); !ok {
		t.Error("a later version that begins alike is refused")
	}
	for _, wrong := range []string{"", "garbage", parent + "-more", "ff" + parent[2:], strings.ToUpper(parent), parent[:54], strings.ReplaceAll(parent, "-", "_"),
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", "01" + parent[2:] + "more"} {
		if c, ok := Parse([]byte(wrong)); ok {
			t.Errorf("%q is taken as %v", wrong, c)
		}
	}
	if Format(trace.SpanContext{}) != "" {
		t.Error("no span, and a text")
	}
}

func BenchmarkChunkWithoutTracer(b *testing.B) {
	var t *Tracer
	b.ReportAllocs()
	for b.Loop() {
		span := t.Chunk("events", 3, 42, 500)
		if span.Recording() {
			b.Fatal("recording")
		}
		span.End()
	}
}
