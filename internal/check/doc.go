// Package check says what would become of raw messages, without Kafka and without the API: which
// Insights events they give, which are refused and by which rule, which are absorbed. The messages are
// judged by the code that runs in the worker; what they leave for one another, impressions and
// clicks, lies in a store that ends with the call.
//
// [Read] takes messages from a file, [Run] judges them, and the [Report] writes itself.
package check
