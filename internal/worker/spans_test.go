package worker

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/twmb/franz-go/pkg/kgo"

	spans "eventworker/internal/trace"
)

func TestChunksAndRequestsAreSpansLinkedWithTheMessagesTraces(t *testing.T) {
	w := newWorld(t)
	out := tracetest.NewInMemoryExporter()
	tracer, err := spans.New(t.Context(), "test", sdk.WithSyncer(out), sdk.WithSampler(sdk.AlwaysSample()))
	if err != nil {
		t.Fatal(err)
	}
	records := clicks("u", "a", 3*spans.MaxLinks)
	for i, r := range records {
		r.Headers = []kgo.RecordHeader{{Key: spans.Header, Value: fmt.Appendf(nil, "00-%032x-%016x-01", i+1, i+1)}}
	}
	records[0].Headers[0].Value = []byte("00-000000000000000000000000000000ff-00000000000000ff-00") // not sampled
	bad := record("u", "bad")
	w.send(append(records, bad)...)
	run := startWorker(t, w.config(), Options{Tracer: tracer})
	run.settles(int64(len(records)) + 1)
	run.stop()
	var chunks, requests []tracetest.SpanStub
	for _, s := range out.GetSpans() {
		if len(s.Links) > spans.MaxLinks {
			t.Errorf("%s has %d links", s.Name, len(s.Links))
		}
		switch s.Name {
		case "process events":
			chunks = append(chunks, s)
		case "POST /1/events":
			requests = append(requests, s)
		}
	}
	if len(chunks) == 0 || len(requests) == 0 {
		t.Fatalf("%d spans of chunks, %d of requests", len(chunks), len(requests))
	}
	if l := chunks[0].Links; len(l) == 0 || l[0].SpanContext.TraceID().String() != fmt.Sprintf("%032x", 2) {
		t.Errorf("links of the first chunk: %v", l)
	}
	chunk := chunks[0].SpanContext.SpanID()
	linked := slices.ContainsFunc(requests, func(s tracetest.SpanStub) bool {
		return slices.ContainsFunc(s.Links, func(l sdk.Link) bool { return l.SpanContext.SpanID() == chunk })
	})
	if !linked {
		t.Error("no request is linked with the chunk that its events came from")
	}
	for _, s := range out.GetSpans() {
		if text := fmt.Sprint(s.Attributes); strings.Contains(text, "a-1") || strings.Contains(text, "key-1") {
			t.Errorf("a span shows what it must not: %s", text)
		}
	}
	letters := w.letters()
	if len(letters) != 1 || !slices.ContainsFunc(chunks, func(s tracetest.SpanStub) bool { return spans.Format(s.SpanContext) == letters[0].Traceparent }) {
		t.Errorf("the dead letter's trace is %q", letters[0].Traceparent)
	}
	if err := tracer.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func BenchmarkTraceChunkOff(b *testing.B) {
	w := &Worker{}
	p := &progress{}
	b.ReportAllocs()
	for b.Loop() {
		span := w.traceChunk(p)
		span.End()
	}
}
