package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// Result is what one run gave. Rates and costs are those between the marks of the log.
type Result struct {
	Log        string `json:"log"`
	Contestant string `json:"contestant"`
	Round      int    `json:"round"`
	// Seconds is the time from the start of the process to its last event; Delivered are the
	// events that arrived in it, history and duplicates included.
	Seconds   float64 `json:"seconds"`
	Delivered int64   `json:"delivered_events"`

	MessagesPerSecond float64 `json:"messages_per_second"`
	EventsPerSecond   float64 `json:"events_per_second"`
	// CPU times are in microseconds a message.
	CPU       float64 `json:"cpu_us_per_message"`
	BrokerCPU float64 `json:"broker_cpu_us_per_message"`
	SinkCPU   float64 `json:"sink_cpu_us_per_message"`
	RedisCPU  float64 `json:"redis_cpu_us_per_message"`
	// EventCPU is the process's own, in microseconds an Insights event.
	EventCPU  float64 `json:"cpu_us_per_event"`
	Objects   float64 `json:"allocations_per_message"`
	Allocated float64 `json:"allocated_bytes_per_message"`
	// Peak is the most memory resident, in bytes.
	Peak int64 `json:"peak_resident_bytes"`
	// Pause is the longest time, in seconds, in which no event arrived.
	Pause float64 `json:"longest_pause_seconds"`
	// EventsPerRequest and BytesPerEvent are of the request bodies.
	EventsPerRequest float64 `json:"events_per_request"`
	BytesPerEvent    float64 `json:"bytes_per_event"`
}

func resultOf(l *log, from, to *sample) *Result {
	events := float64(to.counts.events - from.counts.events)
	messages := events * float64(l.Measured) / float64(l.marks[1]-l.marks[0])
	seconds := to.at.Sub(from.at).Seconds()
	micros := func(a, b sample, of func(s sample) int64) float64 { return float64(of(b)-of(a)) / 1e3 / messages }
	r := &Result{
		MessagesPerSecond: messages / seconds, EventsPerSecond: events / seconds,
		CPU:       micros(*from, *to, func(s sample) int64 { return int64(s.worker) }),
		BrokerCPU: micros(*from, *to, func(s sample) int64 { return int64(s.broker) }),
		SinkCPU:   micros(*from, *to, func(s sample) int64 { return int64(s.sink) }),
		RedisCPU:  micros(*from, *to, func(s sample) int64 { return int64(s.redis) }),
		Objects:   (to.allocations.objects - from.allocations.objects) / messages,
		Allocated: (to.allocations.bytes - from.allocations.bytes) / messages,
	}
	r.EventCPU = r.CPU * messages / events
	if requests := to.counts.requests - from.counts.requests; requests > 0 {
		r.EventsPerRequest = events / float64(requests)
	}
	r.BytesPerEvent = float64(to.counts.bytes-from.counts.bytes) / events
	return r
}

// column is one figure of the table.
type column struct {
	head   string
	format string
	of     func(r *Result) float64
}

var columns = []column{
	{"messages/s", "%.0f", func(r *Result) float64 { return r.MessagesPerSecond }},
	{"events/s", "%.0f", func(r *Result) float64 { return r.EventsPerSecond }},
	{"CPU µs/message", "%.2f", func(r *Result) float64 { return r.CPU }},
	{"µs/event", "%.2f", func(r *Result) float64 { return r.EventCPU }},
	{"broker", "%.2f", func(r *Result) float64 { return r.BrokerCPU }},
	{"sink", "%.2f", func(r *Result) float64 { return r.SinkCPU }},
	{"Redis", "%.2f", func(r *Result) float64 { return r.RedisCPU }},
	{"allocs/message", "%.2f", func(r *Result) float64 { return r.Objects }},
	{"B/message", "%.0f", func(r *Result) float64 { return r.Allocated }},
	{"peak MB", "%.0f", func(r *Result) float64 { return float64(r.Peak) / 1e6 }},
	{"longest pause s", "%.2f", func(r *Result) float64 { return r.Pause }},
	{"events/request", "%.0f", func(r *Result) float64 { return r.EventsPerRequest }},
}

// of are the results of a contestant on a log.
func of(results []*Result, log, contestant string) (list []*Result) {
	for _, r := range results {
		if r.Log == log && r.Contestant == contestant {
			list = append(list, r)
		}
	}
	return list
}

func median(list []*Result, figure func(*Result) float64) float64 {
	values := make([]float64, len(list))
	for i, r := range list {
		values[i] = figure(r)
	}
	slices.Sort(values)
	if n := len(values); n%2 == 0 {
		return (values[n/2-1] + values[n/2]) / 2
	}
	return values[len(values)/2]
}

// printTable writes the medians, and against the loop the median of the rounds' ratios: what disturbs
// one round disturbs both of its runs.
func printTable(w io.Writer, logs []*log, list []contestant, results []*Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, l := range logs {
		fmt.Fprintf(t, "%s: %.0f bytes, %.2f events a message\t", l.Name, float64(l.Bytes)/float64(l.all()), float64(l.Events)/float64(l.all()))
		for _, c := range columns {
			fmt.Fprintf(t, "%s\t", c.head)
		}
		fmt.Fprintln(t)
		for _, c := range list {
			mine := of(results, l.Name, c.name)
			if len(mine) == 0 {
				continue
			}
			fmt.Fprintf(t, "%s\t", c.name)
			for _, col := range columns {
				fmt.Fprintf(t, col.format+"\t", median(mine, col.of))
			}
			fmt.Fprintln(t)
		}
		printRatios(t, l, list, results)
	}
	return t.Flush()
}

func printRatios(t io.Writer, l *log, list []contestant, results []*Result) {
	loops := of(results, l.Name, "loop")
	for _, c := range list {
		mine := of(results, l.Name, c.name)
		if c.name == "loop" || len(mine) == 0 || len(mine) != len(loops) {
			continue
		}
		ratio := func(figure func(r *Result) float64) float64 {
			var ratios []*Result
			for i := range mine {
				ratios = append(ratios, &Result{CPU: figure(mine[i]) / figure(loops[i])})
			}
			return median(ratios, func(r *Result) float64 { return r.CPU })
		}
		fmt.Fprintf(t, "%s : loop\t%.1fx\t%.1fx\t1/%.1f\t1/%.1f\t\t\t\t\t\t\t\t\n", c.name, ratio(columns[0].of), ratio(columns[1].of), 1/ratio(columns[2].of), 1/ratio(columns[3].of))
	}
}
