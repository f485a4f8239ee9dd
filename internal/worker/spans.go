package worker

import (
	"go.opentelemetry.io/otel/trace"

	"eventworker/internal/batch"
	"eventworker/internal/consume"
	"eventworker/internal/insights"
	spans "eventworker/internal/trace"
)

// traceChunk begins the span of a chunk, and links it with the traces of its messages. Without a tracer
// it does nothing.
func (w *Worker) traceChunk(p *progress) spans.Span {
	if w.opts.Tracer == nil {
		return spans.Span{}
	}
	c := p.chunk
	span := w.opts.Tracer.Chunk(c.Partition.Topic, c.Partition.ID, p.first, len(c.Records))
	if !span.Recording() {
		return span
	}
	p.span = span.Context()
	links := 0
	for i := range c.Records {
		if to, ok := parentOf(&c.Records[i]); ok {
			span.Link(to)
			if links++; links == spans.MaxLinks {
				break
			}
		}
	}
	return span
}

// parentOf is the sampled trace that a message carries.
func parentOf(rec *consume.Record) (c trace.SpanContext, ok bool) {
	for i := range rec.Headers {
		if h := &rec.Headers[i]; h.Key == spans.Header {
			c, ok = spans.Parse(h.Value)
			return c, ok && c.IsSampled()
		}
	}
	return c, false
}

// requestSpans gives a deliverer's requests spans; nil without a tracer.
func (w *Worker) requestSpans(application, host string) func(entries []batch.Entry[part], attempt int) insights.Span {
	if w.opts.Tracer == nil {
		return nil
	}
	return func(entries []batch.Entry[part], attempt int) insights.Span {
		span := w.opts.Tracer.Request(application, host, len(entries), attempt)
		if span.Recording() {
			linkRequest(span, entries)
		}
		return span
	}
}

// linkRequest links the span of a request with the chunks that its events came from, and with the traces
// of their messages: each once, spans.MaxLinks in all.
func linkRequest(span spans.Span, entries []batch.Entry[part]) {
	links := 0
	link := func(to trace.SpanContext) bool {
		span.Link(to)
		links++
		return links < spans.MaxLinks
	}
	var chunk *progress
	var last message
	for k := range entries {
		m := entries[k].Ref.Message
		if m == last {
			continue
		}
		last = m
		if m.batch != chunk {
			chunk = m.batch
			if chunk.span.IsValid() && !link(chunk.span) {
				return
			}
		}
		if to, ok := parentOf(m.record()); ok && !link(to) {
			return
		}
	}
}
