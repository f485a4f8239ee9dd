package dlq

import _ "embed"

// The schemas of plans and of what the commands that write print as JSON.
var (
	//go:embed schemas/plan.v1.schema.json
	PlanDocumentSchema []byte
	//go:embed schemas/replay.v1.schema.json
	ReplayDocumentSchema []byte
	//go:embed schemas/verify.v1.schema.json
	VerifySchema []byte
	//go:embed schemas/replays.v1.schema.json
	ReplaysSchema []byte
	//go:embed schemas/discard.v1.schema.json
	DiscardDocumentSchema []byte
)
