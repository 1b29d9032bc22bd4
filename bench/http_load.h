// A small keep-alive loader for loopback: N clients, each sending the next request when it has its
// reply.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace forkbox::bench {

struct LoadResult {
  std::vector<double> latencies_ms;
  std::size_t failed = 0;  // not 2xx, or without `expected` in the body
};

// `requests` in all, over `clients` connections to 127.0.0.1:port.
LoadResult PostJson(std::uint16_t port, const std::string& path, const std::string& body,
                    const std::string& expected, std::size_t clients, std::size_t requests);

// True once GET path answers 200 there.
bool Answers(std::uint16_t port, const std::string& path);

}  // namespace forkbox::bench
