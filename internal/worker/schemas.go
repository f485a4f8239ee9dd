package worker

import _ "embed"

// The published schemas of what commands print as JSON.
var (
	//go:embed schemas/store-user.v1.schema.json
	StoreUserSchema []byte
	//go:embed schemas/forgotten.v1.schema.json
	ForgottenSchema []byte
)
