//! Several sources in one configuration: a shop's database and its stock's.

mod databases;
mod nodes;
mod pages;
mod stand;
mod start;
mod tokens;
