import type { AnnotationQuery, Dashboard, VariableModel } from "@grafana/schema";

// A dashboard as it stands in a file: enumerations are their words.
type Plain<T> = T extends string
  ? `${T}`
  : T extends (infer U)[]
    ? Plain<U>[]
    : T extends object
      ? { [K in keyof T]: Plain<T[K]> }
      : T;

// What Prometheus' data source adds to annotations, and Grafana to variables, without saying so in the types.
type Annotation = Plain<AnnotationQuery> & { expr: string; step?: string; titleFormat?: string; textFormat?: string; tagKeys?: string };
type Variable = Plain<VariableModel> & { definition?: string };

export type File = Omit<Plain<Dashboard>, "annotations" | "templating"> & {
  annotations: { list: Annotation[] };
  templating: { list: Variable[] };
};
