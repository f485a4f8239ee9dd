import com.algolia.api.RecommendClient;
import com.algolia.config.CallType;
import com.algolia.config.ClientOptions;
import com.algolia.config.Host;
import com.algolia.model.recommend.GetRecommendationsParams;
import com.algolia.model.recommend.RecommendSearchParams;
import com.algolia.model.recommend.RecommendationsHit;
import com.algolia.model.recommend.RecommendationsResults;
import com.algolia.model.recommend.RelatedModel;
import com.algolia.model.recommend.RelatedQuery;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A storefront in Java: it asks Algolia Recommend for related products, shows them, and publishes what
 * the shopper saw, clicked and bought for eventworker. docs/storefront.md explains it.
 */
public final class Storefront {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String USER_TOKEN = env("USER_TOKEN", "user-1234");
  private static final String ORDER = env("ORDER_NUMBER", "1001");
  private static final String TOPIC = env("KAFKA_TOPIC", "recommendation-events");

  public static void main(String[] args) throws Exception {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", env("KAFKA_BROKERS", "localhost:9092"));
    settings.put("acks", "all");
    // The default partitioner is murmur2 over the key: with the user token as the key, all messages of a
    // user meet in one partition.
    try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        RecommendClient recommend = new RecommendClient(env("ALGOLIA_APP_ID", ""), env("ALGOLIA_API_KEY", ""), options())) {

      // 1. Ask for recommendations. clickAnalytics gives each result a queryID; userToken is the one that
      // the events carry. analyticsTags are up to you.
      List<RecommendationsResults> results = recommend.getRecommendations(new GetRecommendationsParams().setRequests(List.of(
          new RelatedQuery().setIndexName("products").setModel(RelatedModel.RELATED_PRODUCTS).setObjectID("sku-7")
              .setThreshold(0.0).setMaxRecommendations(4)
              .setQueryParameters(new RecommendSearchParams().setClickAnalytics(true).setUserToken(USER_TOKEN)
                  .setAnalyticsTags(List.of("product-page")))))).getResults();
      RecommendationsResults result = results.isEmpty() ? new RecommendationsResults().setHits(List.of()) : results.get(0);
      List<String> products = result.getHits().stream()
          .map(hit -> ((RecommendationsHit.RecommendHitWrapper) hit).getValue().getObjectID()).toList();

      // 2. Shown: the queryID of the result, which only clickAnalytics gives, and its products in order.
      Map<String, Object> shown = new HashMap<>(Map.of("type", "recommendation.shown", "id", UUID.randomUUID().toString(), "index", "products",
          "model", "related-products", "objectIDs", products, "analyticsTags", List.of("product-page")));
      if (result.getQueryID() != null) {
        shown.put("queryID", result.getQueryID());
      }
      publish(producer, shown);

      // 3. The shopper clicks the second product. The worker finds its queryID and position.
      if (products.size() < 2) {
        System.err.println("fewer than two recommendations: nothing to click on");
        System.exit(1);
      }
      String product = products.get(1);
      publish(producer, Map.of("type", "recommendation.clicked", "id", UUID.randomUUID().toString(), "index", "products", "objectID", product));

      // 4. The order. Its id comes from the order's number, so that a checkout that is tried again repeats it
      // and does not count twice; prices are decimal text.
      publish(producer, Map.of("type", "recommendation.purchased", "id", "order-" + ORDER, "orderID", ORDER, "index", "products", "currency", "EUR",
          "items", List.of(Map.of("objectID", product, "price", "19.90", "quantity", 2))));
    }
  }

  /** Writes one message, keyed by the user token. */
  private static void publish(KafkaProducer<String, String> producer, Map<String, Object> fields) throws Exception {
    Map<String, Object> message = new HashMap<>(fields);
    message.put("userToken", USER_TOKEN);
    message.put("timestamp", System.currentTimeMillis());
    producer.send(new ProducerRecord<>(TOPIC, USER_TOKEN, JSON.writeValueAsString(message))).get();
  }

  private static ClientOptions options() {
    ClientOptions.Builder options = ClientOptions.builder();
    String other = env("ALGOLIA_URL", "");
    if (!other.isEmpty()) {
      URI url = URI.create(other);
      options.setHosts(List.of(new Host(url.getHost(), EnumSet.of(CallType.READ, CallType.WRITE), url.getScheme(), url.getPort())));
    }
    return options.build();
  }

  private static String env(String name, String otherwise) {
    String value = System.getenv(name);
    return value == null || value.isEmpty() ? otherwise : value;
  }
}
