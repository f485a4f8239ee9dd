package dlq

import _ "embed"

// The schemas of what the commands print as JSON; -o help prints them. Fields are added, never renamed
// or given another type.
var (
	//go:embed schemas/list.v1.schema.json
	ListSchema []byte
	//go:embed schemas/stats.v1.schema.json
	StatsSchema []byte
	//go:embed schemas/show.v1.schema.json
	ShowSchema []byte
	//go:embed schemas/explain.v1.schema.json
	ExplainSchema []byte
	//go:embed schemas/tail.v1.schema.json
	TailSchema []byte
	//go:embed schemas/export.v1.schema.json
	ExportJSONSchema []byte
)
