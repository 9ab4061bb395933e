/*
 * receipt_books: a receipt out of the full books that 'replay reconcile --books FILE' wrote, and the books of a receipt looked at again.
 */
#ifndef BOOKS_RECEIPT_BOOKS_H
#define BOOKS_RECEIPT_BOOKS_H

#include "formats/receipt.h"

/*
 * Reads the whole file, line by line; `out` gets everything but when and by whom the receipt is made. GS_E_BOOKS (no books, or cut off),
 * GS_E_NOT_FOUND, GS_E_IO.
 */
int receipt_from_books(const char *path, struct receipt *out, struct gs_err *err) GS_MUST_USE;

#endif
