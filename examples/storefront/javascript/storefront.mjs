// A storefront in JavaScript: it asks Algolia Recommend for related products, shows them, and
// publishes what the shopper saw, clicked and bought for eventworker. docs/storefront.md explains it.
import { randomUUID } from 'node:crypto';
import { recommendClient } from '@algolia/recommend';
import { Kafka, Partitioners } from 'kafkajs';

const env = (name, otherwise) => process.env[name] || otherwise;
const userToken = env('USER_TOKEN', 'user-1234');
const order = env('ORDER_NUMBER', '1001');
const topic = env('KAFKA_TOPIC', 'recommendation-events');

const kafka = new Kafka({ clientId: 'storefront', brokers: env('KAFKA_BROKERS', 'localhost:9092').split(',') });
// The default partitioner is murmur2, as in Java's client: with the user token as the key, all messages
// of a user meet in one partition, whatever service wrote them.
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });

const options = {};
if (process.env.ALGOLIA_URL) {
  const { protocol, hostname, port } = new URL(process.env.ALGOLIA_URL);
  options.hosts = [{ url: hostname, port: Number(port), protocol: protocol.slice(0, -1), accept: 'readWrite' }];
}
const recommend = recommendClient(env('ALGOLIA_APP_ID', ''), env('ALGOLIA_API_KEY', ''), options);

// publish writes one message, keyed by the user token.
function publish(message) {
  const value = JSON.stringify({ ...message, userToken, timestamp: Date.now() });
  return producer.send({ topic, acks: -1, messages: [{ key: userToken, value }] });
}

await producer.connect();
try {
  // 1. Ask for recommendations. clickAnalytics gives each result a queryID; userToken is the one that the
  // events carry. analyticsTags are up to you.
  const request = {
    requests: [{
      indexName: 'products', model: 'related-products', objectID: 'sku-7', threshold: 0, maxRecommendations: 4,
      queryParameters: { clickAnalytics: true, userToken, analyticsTags: ['product-page'] },
    }],
  };
  const response = await recommend.getRecommendations(request);

  // 2. Shown: both bodies as they are.
  await publish({ type: 'recommendation.shown', id: randomUUID(), recommend: { request, response } });

  // 3. The shopper clicks the second product. The worker finds its queryID and position.
  const hits = response.results[0]?.hits ?? [];
  if (hits.length < 2) throw new Error('fewer than two recommendations: nothing to click on');
  const product = hits[1].objectID;
  await publish({ type: 'recommendation.clicked', id: randomUUID(), index: 'products', objectID: product });

  // 4. The order. Its id comes from the order's number, so that a checkout that is tried again repeats it
  // and does not count twice; prices are decimal text.
  await publish({
    type: 'recommendation.purchased', id: `order-${order}`, orderID: order, index: 'products', currency: 'EUR',
    items: [{ objectID: product, price: '19.90', quantity: 2 }],
  });
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await producer.disconnect();
}
