// Command go is a storefront in Go: it asks Algolia Recommend for related products, shows them, and
// publishes what the shopper saw, clicked and bought for eventworker. docs/storefront.md explains it.
package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	userToken := cmp.Or(os.Getenv("USER_TOKEN"), "user-1234")
	order := cmp.Or(os.Getenv("ORDER_NUMBER"), "1001")

	// The user token is the key, and the partitioner is murmur2, as in Java's client: so all messages of
	// a user meet in one partition, whatever service wrote them. kafka-go's own default would not do that.
	events := &kafka.Writer{
		Addr:         kafka.TCP(strings.Split(cmp.Or(os.Getenv("KAFKA_BROKERS"), "localhost:9092"), ",")...),
		Topic:        cmp.Or(os.Getenv("KAFKA_TOPIC"), "recommendation-events"),
		Balancer:     kafka.Murmur2Balancer{Consistent: true},
		RequiredAcks: kafka.RequireAll,
		BatchTimeout: 10 * time.Millisecond,
	}
	defer events.Close()

	// 1. Ask for recommendations. clickAnalytics gives each result a queryID; userToken is the one that
	// the events carry. analyticsTags are up to you.
	request, err := json.Marshal(map[string]any{"requests": []map[string]any{{
		"indexName": "products", "model": "related-products", "objectID": "sku-7", "threshold": 0, "maxRecommendations": 4,
		"queryParameters": map[string]any{"clickAnalytics": true, "userToken": userToken, "analyticsTags": []string{"product-page"}},
	}}})
	if err != nil {
		return err
	}
	response, err := recommend(ctx, request)
	if err != nil {
		return err
	}

	// 2. Shown: both bodies as they are.
	if err := publish(ctx, events, userToken, map[string]any{
		"type": "recommendation.shown", "id": rand.Text(),
		"recommend": map[string]any{"request": json.RawMessage(request), "response": json.RawMessage(response)},
	}); err != nil {
		return err
	}

	// 3. The shopper clicks the second product. The worker finds its queryID and position.
	var answer struct {
		Results []struct {
			Hits []struct {
				ObjectID string `json:"objectID"`
			} `json:"hits"`
		} `json:"results"`
	}
	if err := json.Unmarshal(response, &answer); err != nil {
		return err
	}
	if len(answer.Results) == 0 || len(answer.Results[0].Hits) < 2 {
		return fmt.Errorf("fewer than two recommendations: nothing to click on")
	}
	product := answer.Results[0].Hits[1].ObjectID
	if err := publish(ctx, events, userToken, map[string]any{
		"type": "recommendation.clicked", "id": rand.Text(), "index": "products", "objectID": product,
	}); err != nil {
		return err
	}

	// 4. The order. Its id comes from the order's number, so that a checkout that is tried again repeats it
	// and does not count twice; prices are decimal text.
	return publish(ctx, events, userToken, map[string]any{
		"type": "recommendation.purchased", "id": "order-" + order, "orderID": order, "index": "products", "currency": "EUR",
		"items": []map[string]any{{"objectID": product, "price": "19.90", "quantity": 2}},
	})
}

// publish writes one message, keyed by the user token.
func publish(ctx context.Context, w *kafka.Writer, userToken string, message map[string]any) error {
	message["userToken"] = userToken
	message["timestamp"] = time.Now().UnixMilli()
	value, err := json.Marshal(message)
	if err != nil {
		return err
	}
	return w.WriteMessages(ctx, kafka.Message{Key: []byte(userToken), Value: value})
}

// recommend makes one request to Algolia Recommend and returns the body of the answer.
func recommend(ctx context.Context, body []byte) ([]byte, error) {
	appID, key := os.Getenv("ALGOLIA_APP_ID"), os.Getenv("ALGOLIA_API_KEY")
	url := cmp.Or(os.Getenv("ALGOLIA_URL"), "https://"+appID+"-dsn.algolia.net") + "/1/indexes/*/recommendations"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body)) //nolint:gosec // whoever runs the example says where Recommend is
	if err != nil {
		return nil, err
	}
	req.Header.Set("x-algolia-application-id", appID)
	req.Header.Set("x-algolia-api-key", key)
	req.Header.Set("content-type", "application/json")
	res, err := http.DefaultClient.Do(req) //nolint:gosec // see above
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 10<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("recommend: status %s", res.Status)
	}
	return answer, err
}
