package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"eventworker/internal/consume"
	"eventworker/internal/dlq"
	"eventworker/internal/worker"
)

func newGroupShowCommand(a *app) *cobra.Command {
	var output string
	var which selection
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Lists owners, offsets and lag of every partition",
		Long: `Asks the brokers, so it works whether workers run or not. COMMITTED is the
offset below which every message is settled; SETTLED counts the offsets beyond
it that the next owner will not deliver again; LAG is what is left.
The lag in seconds, and what holds a partition up, are known to the worker that
has it: see /statusz of its admin server.`,
		Example: `  eventworker group show --config eventworker.yaml
  eventworker group show --set kafka.group=eventworker --topic events -o json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			admin, name, err := a.groupAdmin()
			if err != nil {
				return err
			}
			defer admin.Close()
			g, err := readGroup(cmd.Context(), admin)
			if err != nil {
				return err
			}
			if g.Partitions, err = which.of(cmd, g); err != nil {
				return err
			}
			doc := groupDocument(name, g)
			if output == "json" {
				return writeDocument(a.out, doc)
			}
			a.sayGroup(doc)
			return writeGroup(a.out, doc)
		},
	}
	a.configFlags(cmd)
	which.flags(a, cmd)
	a.schemaFlag(cmd, &output, groupShowSchema, "table", "json")
	return cmd
}

// shownGroup is the JSON of group show. Offsets are numbers; they stay below 2⁵³.
type shownGroup struct {
	Schema        string           `json:"schema"`
	Group         string           `json:"group"`
	State         string           `json:"state"`
	Members       []shownMember    `json:"members"`
	MissingTopics []string         `json:"missing_topics"`
	Partitions    []shownPartition `json:"partitions"`
}

type shownMember struct {
	ID     string `json:"id"`
	Client string `json:"client"`
	Host   string `json:"host"`
}

type shownPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Owner     string `json:"owner"` // member id, empty: none
	// Committed, Start and End are -1 where they are not known.
	Committed int64        `json:"committed"`
	Start     int64        `json:"start"`
	End       int64        `json:"end"`
	Lag       int64        `json:"lag"`
	Settled   []shownRange `json:"settled"` // at or beyond the committed offset
	// Metadata of the commit: own, none, or foreign, which is also damaged metadata.
	Metadata string `json:"metadata"`
}

// shownRange is the offsets from ≤ o < to.
type shownRange struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

func (p *shownPartition) settled() (n int64) {
	for _, r := range p.Settled {
		n += r.To - r.From
	}
	return n
}

func groupDocument(name string, g *consume.Group) *shownGroup {
	doc := &shownGroup{Schema: "eventworker.group.show/v1", Group: name, State: g.State, Members: []shownMember{},
		MissingTopics: append([]string{}, g.MissingTopics...), Partitions: []shownPartition{}}
	for _, m := range g.Members {
		doc.Members = append(doc.Members, shownMember{m.ID, m.Client, m.Host})
	}
	for _, p := range g.Partitions {
		s := shownPartition{Topic: p.Topic, Partition: p.Partition, Owner: p.Owner, Committed: p.Committed,
			Start: p.Start, End: p.End, Settled: []shownRange{}, Metadata: "none"}
		if p.Metadata != "" {
			said := worker.ParseCommit(p.Metadata, name, p.Topic, p.Partition, p.Committed)
			s.Metadata = "foreign"
			if said.Known {
				s.Metadata = "own"
			}
			for _, r := range said.Settled {
				s.Settled = append(s.Settled, shownRange(r))
			}
		}
		s.Lag = lagOf(p, s.settled())
		doc.Partitions = append(doc.Partitions, s)
	}
	return doc
}

// lagOf is how many offsets are not settled: of a partition without a commit all that are there.
func lagOf(p consume.GroupPartition, settled int64) int64 {
	return max(0, p.End-max(p.Committed, p.Start, 0)-settled)
}

// sayGroup tells of the group as a whole.
func (a *app) sayGroup(doc *shownGroup) {
	fmt.Fprintf(a.err, "group %s: %s, %s\n", doc.Group, strings.ToLower(doc.State), plural(len(doc.Members), "member"))
	if len(doc.MissingTopics) > 0 {
		fmt.Fprintf(a.err, "topics that do not exist: %s\n", strings.Join(doc.MissingTopics, ", "))
	}
}

func writeGroup(w io.Writer, doc *shownGroup) error {
	owners := map[string]string{}
	for _, m := range doc.Members {
		owners[m.ID] = strings.TrimSuffix(m.Client+"@"+strings.TrimPrefix(m.Host, "/"), "@")
	}
	rows := [][]string{{"TOPIC", "PARTITION", "COMMITTED", "SETTLED", "END", "LAG", "OWNER"}}
	for i := range doc.Partitions {
		p := &doc.Partitions[i]
		owner := p.Owner
		if short := owners[owner]; short != "" {
			owner = short + " " + owner
		}
		rows = append(rows, []string{p.Topic, fmt.Sprint(p.Partition), number(p.Committed), fmt.Sprint(p.settled()), number(p.End), fmt.Sprint(p.Lag), owner})
	}
	return writeTable(w, rows, 1, 5)
}

// writeTable writes rows whose columns from first to last are numbers and stand to the right.
func writeTable(w io.Writer, rows [][]string, first, last int) error {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if i >= first && i <= last {
				line.WriteString(pad + cell + "  ")
			} else {
				line.WriteString(cell + pad + "  ")
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeDocument writes the one document of -o json.
func writeDocument(w io.Writer, doc any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return err
	}
	_, err := w.Write(dlq.QuietJSON(b.Bytes()))
	return err
}
