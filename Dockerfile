# syntax=docker/dockerfile:1
#
# To try it, on the host's own loopback addresses:
#   docker build -t frontdesk . && docker run --network host -v frontdesk-data:/data frontdesk
#
# To be reached by others it needs a frontdesk.toml with your domain, public = true, and listeners
# on 0.0.0.0 (see frontdesk.example.toml):
#   docker run -p 25:2525 -p 8080:8080 -v frontdesk-data:/data \
#       -v ./frontdesk.toml:/etc/frontdesk/frontdesk.toml:ro frontdesk
#
# A speech model for calls, kept with the data:
#   docker run --rm -v frontdesk-data:/data frontdesk models pull whisper:base.en

FROM node:22-bookworm-slim AS pages
WORKDIR /src
COPY inbox-ui .
RUN --mount=type=cache,target=/root/.npm \
    npm ci --no-audit --no-fund && npm run build

FROM rust:1.95.0-slim-bookworm AS build
# Whisper is C++ and built with cmake.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake g++ make \
    && rm -rf /var/lib/apt/lists/*
# The image has the compiler that rust-toolchain.toml names, but not its clippy and rustfmt.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
COPY --from=pages /src/talk/dist inbox-ui/talk/dist
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin frontdesk \
    && cp target/release/frontdesk /usr/local/bin/frontdesk

FROM debian:bookworm-slim
# What speaks and hears in calls without a download, and whom to trust when a model is downloaded.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        ca-certificates espeak-ng libflite1 libpocketsphinx3 pocketsphinx-en-us \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /data frontdesk \
    && install -d -o frontdesk -g frontdesk -m 700 /data \
    && install -d /etc/frontdesk
COPY --from=build /usr/local/bin/frontdesk /usr/local/bin/frontdesk
# frontdesk.toml is read from here if it is there.
WORKDIR /etc/frontdesk
ENV FRONTDESK_DATA=/data
USER frontdesk
VOLUME /data
EXPOSE 2525 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s \
    CMD ["frontdesk", "check", "--health"]
ENTRYPOINT ["frontdesk"]
CMD ["serve"]
