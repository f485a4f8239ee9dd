// Package trace makes OpenTelemetry spans of chunks and requests, linked with the traces that messages
// carry in their traceparent header. It is off unless an OTLP endpoint is set; a nil *Tracer makes no
// spans and costs nothing.
package trace

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// MaxLinks bounds the links of a span.
const MaxLinks = 32

// Tracer makes spans. nil makes none.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// shutdownTimeout bounds how long the last spans may take.
const shutdownTimeout = 5 * time.Second

// FromEnvironment makes the tracer that the standard OTEL_… variables describe, nil where they name no
// endpoint or turn traces off. Variables that cannot be used are an error that names each. Spans are sent in
// the background, from a queue that is bounded and drops what does not fit: a collector that is away costs
// spans, nothing else.
func FromEnvironment(ctx context.Context, version string, log *zap.Logger) (*Tracer, error) {
	endpoint := or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	if endpoint == "" || strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil, nil
	}
	if err := check(); err != nil {
		return nil, err
	}
	to, err := url.Parse(strings.TrimSpace(endpoint))
	if err != nil {
		return nil, errors.New("the collector's address cannot be read") // checked above
	}
	said := listen(log)
	about, err := describe(ctx, version)
	if err != nil {
		return nil, err
	}
	exporter, protocol, err := newExporter(ctx)
	if err != nil {
		return nil, err
	}
	t := newTracer(about, sdk.WithBatcher(exporter))
	if err := said.setUp(); err != nil {
		return nil, errors.Join(fmt.Errorf("traces, of the variables OTEL_…: %w", err), t.Close(ctx))
	}
	log.Info("traces are sent", zap.String("endpoint", to.Scheme+"://"+to.Host), zap.String("protocol", protocol))
	return t, nil
}

func newExporter(ctx context.Context) (exporter sdk.SpanExporter, protocol string, err error) {
	protocol = strings.TrimSpace(or(or(os.Getenv(tracesPrefix+"PROTOCOL"), os.Getenv(exporterPrefix+"PROTOCOL")), "http/protobuf"))
	if protocol == "grpc" {
		exporter, err = otlptracegrpc.New(ctx)
	} else {
		exporter, err = otlptracehttp.New(ctx)
	}
	if err != nil {
		return nil, "", fmt.Errorf("traces (OTEL_EXPORTER_OTLP_ENDPOINT): %w", err)
	}
	return exporter, protocol, nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// New makes a tracer with a processor of its own. Service name and attributes come from
// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, the sampler from OTEL_TRACES_SAMPLER.
func New(ctx context.Context, version string, options ...sdk.TracerProviderOption) (*Tracer, error) {
	about, err := describe(ctx, version)
	if err != nil {
		return nil, err
	}
	return newTracer(about, options...), nil
}

func newTracer(about *resource.Resource, options ...sdk.TracerProviderOption) *Tracer {
	p := sdk.NewTracerProvider(append([]sdk.TracerProviderOption{sdk.WithResource(about)}, options...)...)
	return &Tracer{provider: p, tracer: p.Tracer("eventworker")}
}

// describe is what all spans say of this process.
func describe(ctx context.Context, version string) (*resource.Resource, error) {
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "eventworker"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("traces (OTEL_RESOURCE_ATTRIBUTES): %w", err)
	}
	return about, nil
}

// Close sends what is left, for up to 5 s.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	return t.provider.Shutdown(ctx)
}

// Span is a span that was begun. The zero Span is none.
type Span struct{ span trace.Span }

// Recording says whether it is worth telling the span anything.
func (s Span) Recording() bool { return s.span != nil && s.span.IsRecording() }

// Context names the span to others; invalid where there is none.
func (s Span) Context() trace.SpanContext {
	if s.span == nil {
		return trace.SpanContext{}
	}
	return s.span.SpanContext()
}

// Chunk begins the span of a chunk's way through the join.
func (t *Tracer) Chunk(topic string, partition int32, offset int64, messages int) Span {
	if t == nil {
		return Span{}
	}
	_, span := t.tracer.Start(context.Background(), "process "+topic, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithNewRoot())
	if span.IsRecording() {
		span.SetAttributes(attribute.String("messaging.system", "kafka"), attribute.String("messaging.operation.type", "process"),
			attribute.String("messaging.destination.name", topic), attribute.Int("messaging.destination.partition.id", int(partition)),
			attribute.Int64("messaging.kafka.offset", offset), attribute.Int("messaging.batch.message_count", messages))
	}
	return Span{span}
}

// Request begins the span of a request to the Insights API.
func (t *Tracer) Request(application, host string, events, attempt int) Span {
	if t == nil {
		return Span{}
	}
	_, span := t.tracer.Start(context.Background(), "POST /1/events", trace.WithSpanKind(trace.SpanKindClient), trace.WithNewRoot())
	if span.IsRecording() {
		span.SetAttributes(attribute.String("http.request.method", "POST"), attribute.String("server.address", host),
			attribute.String("eventworker.application", application), attribute.Int("eventworker.events", events), attribute.Int("http.request.resend_count", attempt-1))
	}
	return Span{span}
}

// Link links the span with another one, which it is told by its place in the trace.
func (s Span) Link(to trace.SpanContext) { s.span.AddLink(trace.Link{SpanContext: to}) }

// End ends the span of a chunk.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}

// EndRequest ends the span of a request: with the HTTP status, 0 if there was no answer, and the error's
// kind. An error's text may quote events, so it does not stand in the span.
func (s Span) EndRequest(status int, kind string) {
	if s.span == nil {
		return
	}
	if status > 0 {
		s.span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	if kind != "" {
		s.span.SetAttributes(attribute.String("error.type", kind))
		s.span.SetStatus(codes.Error, kind)
	}
	s.span.End()
}
