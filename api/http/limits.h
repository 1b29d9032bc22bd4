// The bounds of the HTTP server: what one request, one client and all clients together may cost.
// A size over its bound is refused with the status named beside it, and the connection is closed.
#pragma once

#include <chrono>
#include <cstddef>

namespace forkbox::http {

struct Limits {
  // One request.
  std::size_t max_target_bytes = 4096;     // 414
  std::size_t max_head_bytes = 16 * 1024;  // request line and fields together: 431
  std::size_t max_fields = 100;            // 431
  std::size_t max_body_bytes = 1 << 20;    // 413, decoded; Server::Options::body_limit refines it

  // All requests together: bodies held in memory until their replies are done. 503.
  std::size_t max_body_total_bytes = 512U << 20;

  // One connection.
  std::size_t max_pipelined_bytes = 64 * 1024;  // read ahead while a reply is due; over it: closed
  std::size_t max_backlog_bytes = 4U << 20;     // unsent bytes of one stream; over it: closed

  // All connections. Each needs two descriptors, a taken one three, so keep this under
  // (RLIMIT_NOFILE - 100) / 2, or a third.
  std::size_t max_connections = 4000;  // over it: closed at once

  // Times. A reply that is being worked on has no limit; that is the handler's business.
  std::chrono::milliseconds idle_timeout{60'000};         // between requests: closed
  std::chrono::milliseconds head_timeout{10'000};         // first to last byte of a head: 408
  std::chrono::milliseconds body_gap_timeout{20'000};     // silence inside a body: 408
  std::chrono::milliseconds body_total_timeout{300'000};  // first to last byte of a body: 408
  std::chrono::milliseconds write_gap_timeout{30'000};    // a reader that takes nothing: closed
};

}  // namespace forkbox::http
