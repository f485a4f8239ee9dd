# The image of eventworker: one static program on distroless, run by a user without rights.
#
#   docker build --build-arg VERSION=$(git describe --tags --always) --tag eventworker .
#
# The program depends on its source, the version of Go and the three arguments only: not on when,
# where or by whom it is built. The other files of the image are the base's.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
ARG COMMIT=
ARG DATE=
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false \
      -ldflags "-s -w -buildid= -X main.version=$VERSION -X main.commit=$COMMIT -X main.date=$DATE" \
      -o /out/eventworker ./cmd/eventworker \
 && mkdir /out/state

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/eventworker /usr/local/bin/eventworker
# Volumes that are mounted here belong to the user; the root file system may be read-only.
COPY --from=build --chown=65532:65532 /out/state /var/lib/eventworker
USER 65532:65532
EXPOSE 9402
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/local/bin/eventworker", "health"]
ENTRYPOINT ["/usr/local/bin/eventworker"]
CMD ["run"]
