package config

import "time"

// DefaultApplication is the name of the application of messages that name none.
const DefaultApplication = "default"

// MaxBatchBytes is the largest request body that may be configured: the API refuses 2 MB and more,
// and the difference leaves room for what "MB" may mean.
const MaxBatchBytes = 1_900_000

// Default is the configuration before any source is read. It is valid but for what no default can
// know: the application's id and key.
func Default() *Config {
	return &Config{
		Kafka:        defaultKafka(),
		Insights:     defaultInsights(),
		Views:        Views{Send: true},
		Tokens:       "reject",
		Store:        defaultStore(),
		Join:         defaultJoin(),
		Dedupe:       Dedupe{Types: []string{"addedToCart", "purchased"}, Window: 24 * time.Hour},
		Batch:        Batch{MaxEvents: 1000, MaxBytes: MaxBatchBytes, Linger: time.Second},
		Delivery:     defaultDelivery(),
		Memory:       Memory{Budget: 64 << 20},
		DrainTimeout: 20 * time.Second,
		Admin:        Admin{Listen: "127.0.0.1:9402", StallAfter: 5 * time.Minute},
		Log:          Log{Level: "info", Format: "auto"},
	}
}

func defaultKafka() Kafka {
	return Kafka{
		Brokers:          []string{"localhost:9092"},
		Group:            "eventworker",
		ClientID:         "eventworker",
		Topics:           []string{"recommendation-events"},
		ShownTopics:      []string{},
		ClickedTopics:    []string{},
		Copartitioned:    true,
		StartOffset:      "earliest",
		DeadLetterTopic:  "recommendation-events.dead-letter",
		ReplayTopic:      "recommendation-events.replay",
		CommitInterval:   250 * time.Millisecond,
		SessionTimeout:   15 * time.Second,
		RebalanceTimeout: 30 * time.Second,
		MaxFetchBytes:    8 << 20,
	}
}

func defaultInsights() Insights {
	return Insights{
		Region:       "us",
		Only:         []string{},
		Applications: map[string]Application{DefaultApplication: {Indices: []string{}}},
		EventNames: EventNames{
			Shown:       "Recommended Products Viewed",
			Clicked:     "Recommended Product Clicked",
			AddedToCart: "Recommended Product Added To Cart",
			Purchased:   "Recommended Product Purchased",
		},
	}
}

func defaultStore() Store {
	return Store{
		Kind:    "disk",
		Path:    "data/queries",
		Memory:  32 << 20,
		Restore: "auto",
		Redis: Redis{
			Addresses:   []string{"localhost:6379"},
			Mode:        "auto",
			KeyPrefix:   "eventworker:",
			DialTimeout: 2 * time.Second,
			Timeout:     2 * time.Second,
			Standstill:  24 * time.Hour,
		},
	}
}

func defaultJoin() Join {
	return Join{
		Window:          24 * time.Hour,
		ClickWindow:     24 * time.Hour,
		ClockSkew:       2 * time.Second,
		AllowedLateness: 5 * time.Second,
		Wait:            10 * time.Second,
		Attribution:     "clicked-then-shown",
		OnMiss:          "send",
	}
}

func defaultDelivery() Delivery {
	return Delivery{
		Mode:        "send",
		MaxInFlight: 32,
		Timeout:     10 * time.Second,
		MaxEventAge: 95 * time.Hour,
		OnSystemic:  "pause",
		Ambiguous:   Ambiguous{Purchases: "retry"},
		Backoff: Backoff{
			InitialInterval:     500 * time.Millisecond,
			Multiplier:          2,
			MaxInterval:         30 * time.Second,
			RandomizationFactor: 0.5,
		},
	}
}
