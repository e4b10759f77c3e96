# The image of every component, from a registry's base image. `deploy/image/build` makes the same
# programs into an archive without registry or engine.
FROM debian:13-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        build-essential cmake ninja-build pkg-config protobuf-c-compiler protobuf-compiler \
        libgrpc-dev libprotobuf-c-dev liblmdb-dev libmicrohttpd-dev libfyaml-dev libjansson-dev \
        libcurl4-openssl-dev libxml2-dev libmount-dev libssl-dev libseccomp-dev libgtest-dev \
        libfuse3-dev
COPY . /src
RUN cmake -S /src -B /build -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    && cmake --build /build --target programs \
    && strip --strip-unneeded /build/bin/*

FROM debian:13-slim
RUN apt-get update && apt-get install -y --no-install-recommends \
        ca-certificates libgrpc29t64 libprotobuf-c1 liblmdb0 libmicrohttpd12t64 libfyaml0 \
        libjansson4 libcurl4t64 libxml2 libmount1 libssl3t64 libseccomp2 libfuse3-4 \
    && rm -rf /var/lib/apt/lists/* /usr/share/doc /usr/share/man \
    && useradd --uid 1000 --home-dir /tmp --shell /bin/bash goosefs
COPY --from=build /build/bin/ /usr/local/bin/
CMD ["/bin/bash"]
