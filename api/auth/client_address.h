// Which address a request came from, as far as that can be believed.
#pragma once

#include <string>
#include <string_view>

#include "api/http/fields.h"

namespace forkbox::api {

// Whether CF-Connecting-IP and X-Forwarded-For are believed. Anybody can send them, and who
// believes them from anybody lets a client have as many addresses, thus demo buckets, as it likes.
enum class ProxyTrust {
  kLoopback,  // when the TCP peer is this machine: a proxy in front of us (the default)
  kAlways,    // only where nobody but the proxy can reach the port
  kNever,
};

// The first that is not empty of CF-Connecting-IP, the first entry of X-Forwarded-For, and the TCP
// peer's address. An entry that is longer than any address is passed over.
std::string ClientAddress(const http::Fields& fields, std::string_view peer, ProxyTrust trust);

// 127.0.0.0/8, ::1 (also in brackets), ::ffff:127.0.0.0/104, and "localhost".
bool IsLoopback(std::string_view address);

}  // namespace forkbox::api
