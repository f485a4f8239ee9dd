"""A storefront in Python: it asks Algolia Recommend for related products, shows them, and publishes
what the shopper saw, clicked and bought for eventworker. docs/storefront.md explains it."""

import json
import os
import sys
import time
import uuid
from urllib.parse import urlparse

from algoliasearch.http.hosts import Host, HostsCollection
from algoliasearch.recommend.client import RecommendClientSync
from algoliasearch.recommend.config import RecommendConfig
from kafka import KafkaProducer

USER_TOKEN = os.environ.get("USER_TOKEN", "user-1234")
ORDER = os.environ.get("ORDER_NUMBER", "1001")
TOPIC = os.environ.get("KAFKA_TOPIC", "recommendation-events")

# The default partitioner is murmur2, as in Java's client: with the user token as the key, all messages
# of a user meet in one partition, whatever service wrote them. (confluent-kafka: set
# partitioner=murmur2_random, its own default puts keys elsewhere.)
producer = KafkaProducer(
    bootstrap_servers=os.environ.get("KAFKA_BROKERS", "localhost:9092").split(","),
    acks="all",
)


def recommend_client() -> RecommendClientSync:
    config = RecommendConfig(os.environ.get("ALGOLIA_APP_ID"), os.environ.get("ALGOLIA_API_KEY"))
    if "ALGOLIA_URL" in os.environ:
        url = urlparse(os.environ["ALGOLIA_URL"])
        config.hosts = HostsCollection([Host(url.hostname, scheme=url.scheme, port=url.port)])
    return RecommendClientSync.create_with_config(config)


def publish(message: dict) -> None:
    """Write one message, keyed by the user token."""
    message |= {"userToken": USER_TOKEN, "timestamp": int(time.time() * 1000)}
    producer.send(TOPIC, key=USER_TOKEN.encode(), value=json.dumps(message).encode()).get(timeout=30)


# 1. Ask for recommendations. clickAnalytics gives each result a queryID; userToken is the one that the
# events carry. analyticsTags are up to you.
request = {
    "requests": [
        {
            "indexName": "products",
            "model": "related-products",
            "objectID": "sku-7",
            "threshold": 0,
            "maxRecommendations": 4,
            "queryParameters": {"clickAnalytics": True, "userToken": USER_TOKEN, "analyticsTags": ["product-page"]},
        }
    ]
}
answer = recommend_client().get_recommendations_with_http_info(request)
response = json.loads(answer.raw_data)

# 2. Shown: both bodies as they are.
publish({"type": "recommendation.shown", "id": str(uuid.uuid4()), "recommend": {"request": request, "response": response}})

# 3. The shopper clicks the second product. The worker finds its queryID and position.
hits = response["results"][0]["hits"] if response["results"] else []
if len(hits) < 2:
    sys.exit("fewer than two recommendations: nothing to click on")
product = hits[1]["objectID"]
publish({"type": "recommendation.clicked", "id": str(uuid.uuid4()), "index": "products", "objectID": product})

# 4. The order. Its id comes from the order's number, so that a checkout that is tried again repeats it and
# does not count twice; prices are decimal text.
publish(
    {
        "type": "recommendation.purchased",
        "id": f"order-{ORDER}",
        "orderID": ORDER,
        "index": "products",
        "currency": "EUR",
        "items": [{"objectID": product, "price": "19.90", "quantity": 2}],
    }
)
producer.close()
