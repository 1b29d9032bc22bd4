#include "api/http/router.h"

#include <pistache/router.h>

#include <array>
#include <cstddef>
#include <exception>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace forkbox::http {
namespace {

using Pistache::Rest::SegmentTreeNode;
using PistacheRoute = Pistache::Rest::Route;

// What hangs in Pistache's tree in the place of one of its handlers. We only ever take the route
// out of it: calling it would need a Pistache request and response.
struct RouteHolder {
  std::shared_ptr<const Router::Route> route;
  PistacheRoute::Result operator()(const Pistache::Rest::Request& /*request*/,
                                   const Pistache::Http::ResponseWriter& /*response*/) const {
    return PistacheRoute::Result::Failure;
  }
};

// The tree wants neither outer nor doubled slashes. Its own sanitizeResource() runs a std::regex
// that recurses for each character, which 16,000 slashes turn into a stack overflow.
std::string Normalize(std::string_view path) {
  std::string clean;
  clean.reserve(path.size());
  for (const char c : path) {
    if (c == '/' && (clean.empty() || clean.back() == '/')) continue;
    clean.push_back(c);
  }
  if (!clean.empty() && clean.back() == '/') clean.pop_back();
  return clean;
}

}  // namespace

struct Router::Trees {
  std::array<SegmentTreeNode, kMethodNames.size()> by_method;

  SegmentTreeNode& Of(Method method) { return by_method.at(static_cast<std::size_t>(method)); }
};

Router::Router() : trees_(std::make_unique<Trees>()) {}
Router::~Router() = default;

void Router::Add(Method method, const std::string& path, Handler handler) {
  const std::string clean = Normalize(path);
  // The tree keeps views into this copy and owns it.
  const std::shared_ptr<char> text(new char[clean.size() + 1], std::default_delete<char[]>());
  clean.copy(text.get(), clean.size());
  auto route = std::make_shared<const Route>(Route{.path = path, .handler = std::move(handler)});
  bool added = true;
  try {
    trees_->Of(method).addRoute(std::string_view(text.get(), clean.size()),
                                RouteHolder{std::move(route)}, text);
  } catch (const std::exception&) {  // the same route twice, or a ':' or '*' inside a segment
    added = false;
  }
  FORKBOX_CHECK(added);
}

void Router::AddTree(const std::string& prefix, Handler handler, Server::TreeOptions options) {
  if (options.takes_over) has_takers_ = true;
  auto route =
      std::make_shared<const Route>(Route{.path = prefix,
                                          .handler = std::move(handler),
                                          .takes_over = std::move(options.takes_over),
                                          .max_taken_body_bytes = options.max_taken_body_bytes});
  const bool added = prefixes_.Add(prefix, routes_.size());
  FORKBOX_CHECK(added);
  routes_.push_back(std::move(route));
}

Router::Match Router::Find(Method method, std::string_view path) const {
  const std::string clean = Normalize(path);
  Match match;
  auto [found, params, splats] = trees_->Of(method).findRoute(clean);
  if (found == nullptr && method == Method::kHead) {
    std::tie(found, params, splats) = trees_->Of(Method::kGet).findRoute(clean);
  }
  if (found == nullptr) {
    if (auto below = prefixes_.Find(path)) {
      match.outcome = below->bad_escape ? Outcome::kBadEscape : Outcome::kFound;
      match.route = routes_.at(below->id).get();
      match.params = std::move(below->params);
      match.tail = below->tail;
      return match;
    }
    for (const auto& [other, name] : kMethodNames) {
      const bool allowed = std::get<0>(trees_->Of(other).findRoute(clean)) != nullptr;
      if (!allowed) continue;
      if (!match.allow.empty()) match.allow += ", ";
      match.allow += name;
      if (other == Method::kGet) match.allow += ", HEAD";
    }
    if (!match.allow.empty()) match.outcome = Outcome::kMethodNotAllowed;
    return match;
  }
  const auto* holder = found->handler_.target<RouteHolder>();
  FORKBOX_CHECK(holder != nullptr);
  for (const auto& param : params) {
    std::string value;
    if (!PercentDecode(param.as<std::string>(), false, &value)) {
      match.outcome = Outcome::kBadEscape;
      return match;
    }
    match.params.emplace_back(param.name(), std::move(value));
  }
  match.outcome = Outcome::kFound;
  match.route = holder->route.get();
  return match;
}

}  // namespace forkbox::http
