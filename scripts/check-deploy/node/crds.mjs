// Validates the custom resources on standard input, a JSON list, against their definitions.
import { readFileSync } from "node:fs";
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1";
import { PodMonitor, PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";

const kinds = { ScaledObject, PodMonitor, PrometheusRule };
let failed = 0;
for (const resource of JSON.parse(readFileSync(0, "utf8"))) {
  const Kind = kinds[resource.kind];
  try {
    if (!Kind) throw new Error("no definition of this kind is at hand");
    const { apiVersion, kind, ...rest } = resource;
    const model = new Kind(rest);
    if (model.apiVersion !== apiVersion) throw new Error(`apiVersion is ${apiVersion}, want ${model.apiVersion}`);
    model.validate();
  } catch (error) {
    failed++;
    console.error(`${resource.kind} ${resource.metadata?.name}: ${error.message}`);
  }
}
process.exit(failed ? 1 : 0);
