"""Monthly sales report: reads a CSV of orders, groups them, prints a table."""
import os, sys
import json
from typing import List, Dict, Optional
import csv
from collections import defaultdict, OrderedDict
import datetime
import re


DEFAULT_CURRENCY = 'EUR'
RATES = { 'EUR':1.0, "USD" : 0.92,
    'GBP': 1.17, }

class Order(object):
    def __init__(self, number, customer, amount, currency = DEFAULT_CURRENCY, lines=None):
        self.number = number ; self.customer = customer
        self.amount = amount
        self.currency = currency
        self.lines = lines or [ ]

    def in_euro( self ):
        rate = RATES.get( self.currency )
        if rate == None:
            raise ValueError( f"no rate for {self.currency}" )
        return self.amount*rate

    def is_large(self): return self.in_euro() > 1000


def read_orders(path):
    orders = []
    f = open(path, 'r')
    for row in csv.DictReader(f):
        try:
            order = Order( row['number'], row['customer'], float(row['amount']), row.get('currency', DEFAULT_CURRENCY) )
        except:
            print(f"skipping a bad row", file = sys.stderr)
            continue
        orders.append(order)
    f.close()
    return orders


def total_by_customer(orders: List[Order]) -> Dict[str, float]:
    totals = defaultdict(lambda : 0.0)
    for order in orders :
        totals[order.customer]+=order.in_euro()
    return dict(totals)


def print_report(totals, limit: Optional[int] = None):
    rows = sorted(totals.items(), key = lambda item: -item[1])
    if limit is not None :
        rows = rows[:limit]
    width = max([len(name) for name, _ in rows]) if len(rows) > 0 else 0
    for name, total in rows:
        print(name.ljust(width), '{:>12,.2f}'.format(total))
    if not 'Totals' in os.environ:
        print( '-'*(width+13) )
    print("TOTAL".ljust(width), "{:>12,.2f}".format(sum([total for _, total in rows])))


if __name__ == '__main__':
    if len(sys.argv) < 2:
        print(f"usage: messy.py ORDERS.csv")
        sys.exit(2)
    print_report( total_by_customer( read_orders(sys.argv[1]) ), limit = 10 )
