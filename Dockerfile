# The image of every component, from a registry's base image. `deploy/image/build` makes the same
# programs into an archive without registry or engine; both read the lists in deploy/image.
FROM debian:13-slim AS build
COPY deploy/image/packages-build /tmp/packages
RUN apt-get update \
    && xargs -a /tmp/packages apt-get install -y --no-install-recommends \
    && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN cmake -S /src -B /build -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    && cmake --build /build --target programs \
    && mkdir /programs \
    && xargs -a /src/deploy/image/programs -I NAME cp /build/bin/NAME /programs/ \
    && strip --strip-unneeded /programs/*

FROM debian:13-slim
COPY deploy/image/packages-run /tmp/packages
RUN apt-get update \
    && xargs -a /tmp/packages apt-get install -y --no-install-recommends \
    && rm -rf /var/lib/apt/lists/* /usr/share/doc /usr/share/man /tmp/packages \
    && useradd --uid 1000 --home-dir /tmp --no-create-home --shell /bin/bash goosefs \
    && useradd --uid 64532 --home-dir /nonexistent --no-create-home --shell /bin/false goosefs-client
COPY --from=build /programs/ /usr/local/bin/
# Who runs as whom is said in the manifests: controllers as 1000, clients as 64532.
CMD ["/bin/bash"]
