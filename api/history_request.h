// The query of GET /api/v1/executions: which page of which executions.
//
//   limit 1–100 (20), cursor, or offset 0–10000, or page ≥ 1; language, status, since, until
//
// A cursor names the last execution of the page before, so a page costs the same wherever it is.
// It belongs to the filters it was given with, and anything else in its place is refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "api/exec0_error.h"
#include "api/http/call.h"
#include "api/language_catalog.h"
#include "store/execution_store.h"

namespace forkbox::api {

inline constexpr std::uint64_t kMaxCountedHistory = 10'000;

// What is wrong is a 400 that names the parameter. The owner is the caller's to set.
tl::expected<store::HistoryQuery, Exec0Problem> ToHistoryQuery(const http::Call& call,
                                                               LanguageCatalog& languages);

// Of the page that ends with `last`.
std::string CursorAfter(const schema::ExecutionId& last, const store::HistoryQuery& query);

}  // namespace forkbox::api
