// Router: from method and path to a handler, by Pistache's routing tree.
//
// Routes are added by one thread, before any Find(); Find() is thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "api/http/call.h"
#include "api/http/fields.h"
#include "api/http/method.h"
#include "api/http/server.h"

namespace forkbox::http {

class Router {
 public:
  struct Route {
    std::string path;  // as registered
    Handler handler;
  };
  enum class Outcome { kFound, kNotFound, kMethodNotAllowed, kBadEscape };
  struct Match {
    Outcome outcome = Outcome::kNotFound;
    const Route* route = nullptr;  // kFound; lives as long as the router
    Fields params;                 // kFound; decoded
    std::string allow;             // kMethodNotAllowed; "GET, POST"
  };

  Router();
  ~Router();
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  void Add(Method method, const std::string& path, Handler handler);
  [[nodiscard]] Match Find(Method method, std::string_view path) const;

 private:
  struct Trees;  // keeps Pistache out of this header
  std::unique_ptr<Trees> trees_;
};

}  // namespace forkbox::http
