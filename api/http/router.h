// Router: from method and path to a handler: routes by Pistache's routing tree, and what those
// leave by prefix.
//
// Both are added by one thread, before any Find(); Find() is thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/http/call.h"
#include "api/http/fields.h"
#include "api/http/method.h"
#include "api/http/prefix_routes.h"
#include "api/http/server.h"

namespace forkbox::http {

class Router {
 public:
  struct Route {
    std::string path;  // as registered
    Handler handler;
    // Of a tree; a route is never taken over.
    Server::TakesOver takes_over = nullptr;
    std::uint64_t max_taken_body_bytes = 0;
  };
  enum class Outcome { kFound, kNotFound, kMethodNotAllowed, kBadEscape };
  struct Match {
    Outcome outcome = Outcome::kNotFound;
    const Route* route = nullptr;  // kFound; lives as long as the router
    Fields params;                 // kFound; decoded
    std::string_view tail;         // kFound, of a tree; part of the path that was asked for
    std::string allow;             // kMethodNotAllowed; "GET, POST"
  };

  Router();
  ~Router();
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  void Add(Method method, const std::string& path, Handler handler);
  void AddTree(const std::string& prefix, Handler handler, Server::TreeOptions options);
  [[nodiscard]] Match Find(Method method, std::string_view path) const;
  // Some tree may take connections over.
  [[nodiscard]] bool has_takers() const { return has_takers_; }

 private:
  struct Trees;  // keeps Pistache out of this header
  std::unique_ptr<Trees> trees_;
  PrefixRoutes prefixes_;
  std::vector<std::shared_ptr<const Route>> routes_;  // of the prefixes
  bool has_takers_ = false;
};

}  // namespace forkbox::http
